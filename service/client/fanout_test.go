package client_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// answerAs answers every glance as a runner of that name would, who has no card.
func answerAs(t *testing.T, nc *nats.Conn, name string) {
	t.Helper()
	body, err := pb.MarshalJSON(&pb.GlanceReply{Runner: name})
	if err != nil {
		t.Fatal(err)
	}
	_, err = nc.Subscribe("runner.glance.all", func(msg *nats.Msg) {
		for range 2 { // the second one counts for nothing
			_ = msg.RespondMsg(&nats.Msg{Header: nats.Header{"Runner-Name": {name}}, Data: body})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// putCard makes a runner look online that is not there.
func putCard(t *testing.T, nc *nats.Conn, name string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := rig.PutCard(t.Context(), js, &pb.Card{Name: name, Pools: []string{"default"}, Labels: map[string]string{"env": "prod"}}); err != nil {
		t.Fatal(err)
	}
}

// Every runner is yielded once, with how it took part.
func TestFanOutYieldsEveryState(t *testing.T) {
	server := fleet.New(t)
	server.Runner(service.Config{Name: "good", Settings: service.Settings{Labels: map[string]string{"env": "prod"}}})
	server.Runner(service.Config{Name: "other", Settings: service.Settings{Labels: map[string]string{"env": "test"}}})
	nc := server.Conn()
	putCard(t, nc, "away")
	answerAs(t, nc, "stranger")
	c := server.Client()

	request := client.GlanceOf(client.Target{Where: `labels.env == "prod"`}, &pb.Glance{})
	states := map[string]client.ReplyState{}
	for reply, err := range client.FanOut(t.Context(), c, request, client.FanOptions{Timeout: 5 * time.Second}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, again := states[reply.Runner]; again {
			t.Errorf("%s is yielded twice", reply.Runner)
		}
		states[reply.Runner] = reply.State
		if answered := reply.Message != nil; answered != (reply.State == client.ReplyOK || reply.State == client.ReplyUnexpected) {
			t.Errorf("%s, %v: message %v", reply.Runner, reply.State, reply.Message)
		}
		if reply.State == client.ReplyMissing && !errors.Is(reply.Err, client.ErrNoAnswer) {
			t.Errorf("%s is missing: %v", reply.Runner, reply.Err)
		}
	}
	want := map[string]client.ReplyState{
		"good": client.ReplyOK, "other": client.ReplySkipped, "away": client.ReplyMissing, "stranger": client.ReplyUnexpected,
	}
	if !maps.Equal(states, want) {
		t.Errorf("got %v, want %v", states, want)
	}
	for _, state := range want {
		if state.String() == "" || state.String() == "none" {
			t.Errorf("state %d has no name", int(state))
		}
	}
}

// A loop that is left asks nobody further.
func TestFanOutEndsWithItsLoop(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a"}, service.Config{Name: "b"}, service.Config{Name: "c"})
	for reply, err := range client.FanOut(t.Context(), c, client.TaskOf(client.Target{}, shell("true")), client.FanOptions{Batch: 1}) {
		if err != nil || reply.Runner != "a" || reply.Message.GetRun().GetRunner() != "a" {
			t.Errorf("got %+v, %v", reply, err)
		}
		break
	}
	runs, err := c.Query(t.Context(), &pb.Query{All: true})
	if err != nil || len(runs.GetRuns()) != 1 {
		t.Errorf("got %v, %v", runs.GetRuns(), err)
	}
}

// Too few answers are the last thing that a loop hears, and a number for Collect.
func TestFanOutExpects(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a"})
	opts := client.FanOptions{Expect: 3, Timeout: 3 * time.Second}
	request := client.MaintOf(client.Target{}, &pb.Maint{Clock: &pb.ClockQuery{TimeNanos: time.Now().UnixNano()}})
	var last error
	count := 0
	for _, err := range client.FanOut(t.Context(), c, request, opts) {
		last = err
		count++
	}
	if !errors.Is(last, client.ErrTooFew) || count != 2 {
		t.Errorf("after %d pairs: %v", count, last)
	}
	result, err := client.Collect(client.FanOut(t.Context(), c, request, opts))
	if err != nil || result.Short != 2 || result.Complete() || len(result.Replies()) != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// What is wrong before anybody was asked is an error of the sequence.
func TestFanOutRefuses(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a"})
	for name, request := range map[string]client.Request[*pb.GlanceReply]{
		"a contradiction": client.GlanceOf(client.Target{On: "a", All: true}, &pb.Glance{}),
		"a selector":      client.GlanceOf(client.Target{Where: "name ="}, &pb.Glance{}),
		"a pool":          client.GlanceOf(client.Target{Pool: "*"}, &pb.Glance{}),
	} {
		if result, err := client.Collect(client.FanOut(t.Context(), c, request, client.FanOptions{})); err == nil {
			t.Errorf("%s: got %+v", name, result)
		}
	}
	for _, limit := range []string{"0", "-1", "101%", "x", "%", "1.5"} {
		if _, err := c.GlanceAll(t.Context(), client.Target{}, &pb.Glance{}, client.FanOptions{Limit: limit}); err == nil {
			t.Errorf("limit %q is no error", limit)
		}
	}
}

// What a follower of one run says ends that run's following alone.
func TestRunAllRecordError(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a"}, service.Config{Name: "b"})
	enough := errors.New("enough")
	var ended []string
	result, err := c.RunAll(t.Context(), client.Target{}, shell("echo x; exit 3"), client.RunAllOptions{RunEvents: client.RunEvents{
		Record: func(run *pb.Run, _ lines.Record) error {
			if run.GetRunner() == "a" {
				return enough
			}
			return nil
		},
		Ended: func(o client.Outcome) { ended = append(ended, o.Run.GetRunner()) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ended)
	if a, b := result.Outcomes["a"], result.Outcomes["b"]; !errors.Is(a.Err, enough) || b.Err != nil || b.End().ExitCode != 3 || b.OK() {
		t.Errorf("got %+v and %+v", a, b)
	}
	if !slices.Equal(ended, []string{"a", "b"}) {
		t.Errorf("ended: %v", ended)
	}
}
