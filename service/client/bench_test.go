package client_test

import (
	"log/slog"
	"os/exec"
	"testing"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// BenchmarkTrue is start to finish of a task that does nothing, beside os/exec.
func BenchmarkTrue(b *testing.B) {
	b.Run("exec", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("run", func(b *testing.B) {
		server, err := embedded.Start(embedded.Config{InProcessOnly: true, DataDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		defer server.Close()
		nc, err := server.Connect()
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		s, err := service.Start(b.Context(), nc, service.Config{Name: "a", DataDir: b.TempDir(), Logger: slog.New(slog.DiscardHandler), OnDemand: true})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		asking, err := server.Connect()
		if err != nil {
			b.Fatal(err)
		}
		defer asking.Close()
		c, err := client.New(asking, client.Options{})
		if err != nil {
			b.Fatal(err)
		}
		task := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"/bin/true"}}}}
		for b.Loop() {
			if _, err := c.Run(b.Context(), client.Target{}, task, client.RunEvents{Record: func(*pb.Run, lines.Record) error { return nil }}); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("16", func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := c.Run(b.Context(), client.Target{}, task, client.RunEvents{Record: func(*pb.Run, lines.Record) error { return nil }}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	})
}
