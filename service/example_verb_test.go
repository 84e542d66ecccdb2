package service_test

import (
	"context"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/endpoint"
)

// A verb of one's own: one row in the configuration, and anybody may ask one
// runner or all of them, with selectors, in protobuf and in JSON.
func Example_verb() {
	server, err := embedded.Start(embedded.Config{Memory: true, InProcessOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	ctx := context.Background()
	for _, name := range []string{"web1", "web2"} {
		nc, err := server.Connect()
		if err != nil {
			fmt.Println(err)
			return
		}
		defer nc.Close()
		greet := func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("hello from " + name), nil
		}
		runner, err := service.Start(ctx, nc, service.Config{
			Name: name, OnDemand: true, Logger: slog.New(slog.DiscardHandler),
			Endpoints: []endpoint.Row{{Verb: "greet", Reach: endpoint.ReachEverywhere, Handle: endpoint.Handle(greet)}},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer runner.Close()
	}

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
	greetings, err := client.Collect(client.FanOut(ctx, c, client.Request[*wrapperspb.StringValue]{
		Verb: "greet", Body: &pb.GlanceRequest{Kind: pb.Kind, Spec: &pb.GlanceSpec{Glance: &pb.Glance{}}},
	}, client.FanOptions{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range greetings.OK {
		fmt.Println(greetings.Answers[name].Message.GetValue())
	}
	// Output:
	// hello from web1
	// hello from web2
}

// Labels, policy, slots and NTP servers change while the runner runs.
func ExampleService_Reload() {
	server, err := embedded.Start(embedded.Config{Memory: true, InProcessOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	runner, err := service.Start(context.Background(), nc, service.Config{
		Name: "web1", OnDemand: true, Logger: slog.New(slog.DiscardHandler),
		Settings: service.Settings{Slots: 8},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer runner.Close()
	fmt.Println(runner.Reload(service.Settings{Slots: 16, Labels: map[string]string{"env": "prod"}}))
	fmt.Println(runner.Reload(service.Settings{Slots: -1}))
	// Output:
	// <nil>
	// cannot use slots: it must not be negative
}
