package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newFleet starts a server and runners of these names, and returns a client.
func newFleet(t *testing.T, configs ...service.Config) *client.Client {
	t.Helper()
	return fleet.New(t, configs...).Client()
}

func shell(text string) *pb.TaskRequest {
	return &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{text}}}}
}

func TestRunGivesEveryLineAndTheEnd(t *testing.T) {
	c := newFleet(t, service.Config{Name: "web1"})
	var out, err strings.Builder
	outcome, runErr := c.Run(t.Context(), client.Target{}, shell("echo one; echo two >&2; printf three; exit 7"), client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
		switch {
		case r.End != nil:
		case r.Stream == lines.Stderr:
			fmt.Fprintf(&err, "%s", r.Text)
		default:
			fmt.Fprintf(&out, "%s|%v ", r.Text, r.Open)
		}
		return nil
	}})
	if runErr != nil {
		t.Fatal(runErr)
	}
	if out.String() != "one|false three|true " || err.String() != "two" {
		t.Errorf("got out %q, err %q", out.String(), err.String())
	}
	if outcome.End().ExitCode != 7 || !outcome.Log.Verified {
		t.Errorf("got %+v, verified %v", outcome.End(), outcome.Log.Verified)
	}
}

func TestFanOutNamesEverybody(t *testing.T) {
	c := newFleet(t,
		service.Config{Name: "a", Settings: service.Settings{Labels: map[string]string{"env": "prod"}}},
		service.Config{Name: "b", Settings: service.Settings{Labels: map[string]string{"env": "prod"}}},
		service.Config{Name: "c", Settings: service.Settings{Labels: map[string]string{"env": "test"}}})
	got, err := c.GlanceAll(t.Context(), client.Target{Where: `labels.env == "prod"`}, &pb.Glance{}, client.FanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.OK, []string{"a", "b"}) || !slices.Equal(got.Skipped, []string{"c"}) || !got.Complete() || len(got.Unexpected) > 0 {
		t.Errorf("got %+v", got)
	}
}

func TestNobodyThere(t *testing.T) {
	c := newFleet(t)
	if _, err := c.Start(t.Context(), client.Target{}, shell("true")); !errors.Is(err, client.ErrNoRunners) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Start(t.Context(), client.Target{On: "web9"}, shell("true")); !errors.Is(err, client.ErrOffline) || !strings.Contains(err.Error(), "web9") {
		t.Errorf("got %v", err)
	}
}

// A runner that was there a moment ago and has lost its connection is asked again.
func TestRunnerComesBack(t *testing.T) {
	server := fleet.New(t)
	server.Runner(service.Config{Name: "web1"}) // makes the buckets
	nc := server.Conn()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cards, err := js.KeyValue(t.Context(), "runner_fleet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cards.PutString(t.Context(), "web2", `{"name":"web2"}`); err != nil {
		t.Fatal(err)
	}
	c := server.Client()
	_, err = c.Start(t.Context(), client.Target{On: "web2"}, shell("true"))
	if err == nil || !strings.HasPrefix(err.Error(), "runner web2 is not online: it doesn't answer, though it was seen ") {
		t.Errorf("for one that does not come back: %v", err)
	}

	// The first request has nobody to answer it. That is when the client looks at
	// the cards, and when the runner comes.
	come := func() {
		_, err := nc.Subscribe("runner.task.at.web2", func(m *nats.Msg) { _ = m.Respond([]byte(`{"run":{"id":"r1"}}`)) })
		if err != nil {
			t.Error(err)
		}
	}
	var once sync.Once
	if _, err := nc.Subscribe("$JS.API.>", func(*nats.Msg) { once.Do(come) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if run, err := c.Start(t.Context(), client.Target{On: "web2"}, shell("true")); err != nil || run.GetId() != "r1" {
		t.Errorf("for one that comes back: %v, %v", run, err)
	}
}

func TestAbortAndWait(t *testing.T) {
	c := newFleet(t, service.Config{Name: "web1"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	run, err := c.Start(ctx, client.Target{}, shell("sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	aborted, err := c.Abort(ctx, run.GetId(), 10*time.Second)
	if err != nil || aborted.GetState() != pb.State_ABORTED {
		t.Fatalf("got %v, %v", aborted, err)
	}
	final, err := c.Wait(ctx, run.GetId())
	if err != nil || final.GetState() != pb.State_ABORTED || !final.GetLogComplete() {
		t.Errorf("got %v, %v", final, err)
	}
}

func TestRunAllFollowsEveryRun(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a"}, service.Config{Name: "b"}, service.Config{Name: "c"})
	got := map[string]string{}
	result, err := c.RunAll(t.Context(), client.Target{}, shell(`echo one; sleep 0.1; echo two; exit 5`), client.RunAllOptions{RunEvents: client.RunEvents{
		Record: func(run *pb.Run, r lines.Record) error {
			if r.End == nil {
				got[run.GetRunner()] += string(r.Text) + " "
			}
			return nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(result.OK, []string{"a", "b", "c"}) {
		t.Fatalf("got %+v", result.FanLists)
	}
	for _, name := range result.OK {
		o := result.Outcomes[name]
		if got[name] != "one two " || o.Err != nil || o.Log.End.ExitCode != 5 || !o.Log.Verified || o.Run.GetId() != result.Group+"-"+name {
			t.Errorf("%s: got %q, %+v", name, got[name], o)
		}
	}
}

func TestRunAllByBatches(t *testing.T) {
	c := newFleet(t, service.Config{Name: "a"}, service.Config{Name: "b"}, service.Config{Name: "c"})
	var order []string
	_, err := c.RunAll(t.Context(), client.Target{}, shell("sleep 0.1"), client.RunAllOptions{FanOptions: client.FanOptions{Batch: 1}, RunEvents: client.RunEvents{
		Accepted: func(run *pb.Run) { order = append(order, "+"+run.GetRunner()) },
		Ended:    func(o client.Outcome) { order = append(order, "-"+o.Run.GetRunner()) },
	}})
	if got := strings.Join(order, " "); err != nil || got != "+a -a +b -b +c -c" {
		t.Errorf("one at a time: got %s, %v", got, err)
	}
	for _, opts := range []client.FanOptions{{Batch: -1}, {Expect: -1}, {Limit: "0"}} {
		if _, err := c.RunAll(t.Context(), client.Target{}, shell("true"), client.RunAllOptions{FanOptions: opts}); err == nil {
			t.Errorf("%+v is no error", opts)
		}
	}
	for _, opts := range []client.FanOptions{{Batch: 2}, {Limit: "2"}, {Limit: "34%"}} {
		result, err := c.RunAll(t.Context(), client.Target{}, shell("true"), client.RunAllOptions{FanOptions: opts})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"a", "b", "c"}
		switch opts.Limit {
		case "2":
			want = want[:2]
		case "34%":
			want = want[:1]
		}
		if !slices.Equal(result.OK, want) || len(result.Outcomes) != len(want) {
			t.Errorf("%+v: got %v with %d outcomes", opts, result.OK, len(result.Outcomes))
		}
		for name, o := range result.Outcomes {
			if o.Run.GetRunner() != name || o.Run.GetId() != result.Group+"-"+name || o.Run.GetGroup() != result.Group || o.Err != nil {
				t.Errorf("%+v: %s has run %v, %v", opts, name, o.Run, o.Err)
			}
		}
	}
}
