package client_test

import (
	"os/exec"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig/fleet"
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
		server := fleet.New(b, service.Config{Name: "a"})
		c := server.Client()
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
