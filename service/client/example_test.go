package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// fleetOf starts a NATS server and runners inside the process. A real fleet is
// there already: then nats.Connect and client.New are all.
func fleetOf(names ...string) (c *client.Client, stop func()) {
	server, err := embedded.Start(embedded.Config{Memory: true, InProcessOnly: true})
	if err != nil {
		panic(err)
	}
	stops := []func(){func() { _ = server.Close() }}
	stop = func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	for _, name := range names {
		nc, err := server.Connect()
		if err != nil {
			panic(err)
		}
		runner, err := service.Start(context.Background(), nc, service.Config{
			Name: name, OnDemand: true, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			panic(err)
		}
		stops = append(stops, nc.Close, runner.Close)
	}
	nc, err := server.Connect()
	if err != nil {
		panic(err)
	}
	stops = append(stops, nc.Close)
	if c, err = client.New(nc, client.Options{}); err != nil {
		panic(err)
	}
	return c, stop
}

// task is a request to run a command.
func task(argv ...string) *pb.TaskRequest {
	return &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv}}}
}

// Run and follow: every line as it is printed, then how the run ended.
func ExampleClient_Run() {
	c, stop := fleetOf("web1")
	defer stop()

	outcome, err := c.Run(context.Background(), client.Target{}, task("printf", "one\ntwo\n"), client.RunEvents{
		Record: func(run *pb.Run, r lines.Record) error {
			if r.End == nil {
				fmt.Printf("%s %d %s\n", run.GetRunner(), r.Pos, r.Text)
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(outcome.End().State, outcome.End().ExitCode, outcome.Log.Verified)
	// Output:
	// web1 1 one
	// web1 2 two
	// COMPLETE 0 true
}

// The same task on every runner that matches, one run each.
func ExampleClient_RunAll() {
	c, stop := fleetOf("db1", "web1", "web2")
	defer stop()

	result, err := c.RunAll(context.Background(), client.Target{Where: `name startsWith "web"`}, task("uname"), client.RunAllOptions{
		FanOptions: client.FanOptions{Timeout: time.Minute},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range result.OK {
		fmt.Println(name, result.Outcomes[name].OK())
	}
	fmt.Println("skipped", result.Skipped, "missing", result.Missing)
	// Output:
	// web1 true
	// web2 true
	// skipped [db1] missing []
}

// A run that is started now and looked at later. The id makes it safe to ask
// again: a second request with it starts nothing.
func ExampleClient_Start() {
	c, stop := fleetOf("web1")
	defer stop()
	ctx := context.Background()

	request := task("sh", "-c", "exit 3")
	request.Metadata = &pb.Metadata{Id: "deploy-42"}
	for range 2 {
		run, err := c.Start(ctx, client.Target{}, request)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(run.GetId(), run.GetRunner())
	}
	run, err := c.Wait(ctx, "deploy-42")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run.GetState(), run.GetExitCode())
	// Output:
	// deploy-42 web1
	// deploy-42 web1
	// COMPLETE 3
}

// The output of a run that has ended, from its second line.
func ExampleClient_Follow() {
	c, stop := fleetOf("web1")
	defer stop()
	ctx := context.Background()

	outcome, err := c.Run(ctx, client.Target{}, task("seq", "3"), client.RunEvents{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Follow(ctx, outcome.Run, client.FollowOptions{FromPos: 2}, func(r lines.Record) error {
		if r.End == nil {
			fmt.Printf("%s\n", r.Text)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 2
	// 3
}

// A fan-out: one reply from each runner that is meant, as they come.
func ExampleFanOut() {
	c, stop := fleetOf("web1", "web2")
	defer stop()

	request := client.GlanceOf(client.Target{}, &pb.Glance{Sys: &pb.SysQuery{Enable: true}})
	cpus := 0
	for reply, err := range client.FanOut(context.Background(), c, request, client.FanOptions{Timeout: time.Minute}) {
		switch {
		case err != nil:
			fmt.Println(err)
			return
		case reply.State == client.ReplyOK:
			cpus += int(reply.Message.GetSys().GetResource().GetAllocatable().GetMilliCpu()) / 1000
		default:
			fmt.Println(reply.Runner, reply.State, reply.Err)
		}
	}
	fmt.Println("any processors:", cpus > 0)
	// Output:
	// any processors: true
}

// A fan-out whose answers are wanted together.
func ExampleCollect() {
	c, stop := fleetOf("web1", "web2")
	defer stop()

	result, err := client.Collect(client.FanOut(context.Background(), c,
		client.GlanceOf(client.Target{}, &pb.Glance{Dir: &pb.DirQuery{Path: "/nowhere"}}),
		client.FanOptions{Timeout: time.Minute}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.OK, result.Failed, result.Complete())
	// Output:
	// [] [web1 web2] true
}

// Conditions are told apart by errors.Is, whoever has found them.
func ExampleClient_Status() {
	c, stop := fleetOf("web1")
	defer stop()

	_, err := c.Status(context.Background(), "nobody-ran-this")
	fmt.Println(errors.Is(err, client.ErrUnknownRun))
	_, err = c.Start(context.Background(), client.Target{On: "web9"}, task("true"))
	fmt.Println(errors.Is(err, client.ErrOffline))
	_, err = c.Run(context.Background(), client.Target{All: true}, task("true"), client.RunEvents{})
	fmt.Println(err)
	// Output:
	// true
	// true
	// the target means every runner: use RunAll
}

// Every runner there is, online or not.
func ExampleClient_Runners() {
	c, stop := fleetOf("db1", "web1")
	defer stop()

	runners, err := c.Runners(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range runners {
		fmt.Println(r.Card.GetName(), r.Online, r.Card.GetPools())
	}
	// Output:
	// db1 true [default]
	// web1 true [default]
}

// A run that takes too long is ended with everything that it started.
func ExampleClient_Abort() {
	c, stop := fleetOf("web1")
	defer stop()
	ctx := context.Background()

	run, err := c.Start(ctx, client.Target{}, task("sleep", "1000"))
	if err != nil {
		fmt.Println(err)
		return
	}
	run, err = c.Abort(ctx, run.GetId(), time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run.GetState())
	// Output:
	// ABORTED
}

// The runs with a tag that did not end well.
func ExampleClient_Query() {
	c, stop := fleetOf("web1")
	defer stop()
	ctx := context.Background()

	for _, code := range []string{"0", "1"} {
		request := task("sh", "-c", "exit "+code)
		request.Spec.Task.Tags = map[string]string{"job": "backup"}
		if _, err := c.Run(ctx, client.Target{}, request, client.RunEvents{}); err != nil {
			fmt.Println(err)
			return
		}
	}
	reply, err := c.Query(ctx, &pb.Query{All: true, Tags: map[string]string{"job": "backup"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, run := range reply.GetRuns() {
		fmt.Println(run.GetState(), run.GetExitCode())
	}
	// Output:
	// COMPLETE 1
	// COMPLETE 0
}
