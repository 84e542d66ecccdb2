package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// A program that is a runner, and asks itself.
func Example() {
	dir, err := os.MkdirTemp("", "runnel-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Start(embedded.Config{InProcessOnly: true, DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	nc, err := server.Connect() // the service's own: micro takes its callbacks
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	ctx := context.Background()
	runner, err := service.Start(ctx, nc, service.Config{Name: "web1", Logger: slog.New(slog.DiscardHandler), OnDemand: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer runner.Close()

	asking, err := server.Connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer asking.Close()
	c, err := client.New(asking, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	task := &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"echo", "hello"}}}}
	outcome, err := c.Run(ctx, client.Target{}, task, client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
		if r.End == nil {
			fmt.Printf("%d %s\n", r.Pos, r.Text)
		}
		return nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(outcome.End().State, outcome.End().ExitCode, outcome.Log.Verified)
	// Output:
	// 1 hello
	// COMPLETE 0 true
}
