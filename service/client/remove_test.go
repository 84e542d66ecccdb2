package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// messages is how many messages of output are stored of a run.
func messages(t *testing.T, js jetstream.JetStream, run *pb.Run) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), run.GetLogStream())
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(run.GetLogSubject()))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects[run.GetLogSubject()]
}

// A run that is removed is gone with its output; a live one is refused; its id
// may be used again.
func TestRemove(t *testing.T) {
	server := fleet.New(t)
	server.Runner(service.Config{Name: "web1"})
	c, other := server.Client(), server.Client()
	js, err := jetstream.New(server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := func(id, text string) *pb.Run {
		t.Helper()
		req := shell(text)
		req.Metadata = &pb.Metadata{Id: id}
		run, err := c.Start(ctx, client.Target{}, req)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	run := start("done", "echo hello")
	if _, err := c.Wait(ctx, "done"); err != nil {
		t.Fatal(err)
	}
	live := start("live", "echo hello; sleep 1000")
	if err := other.Remove(ctx, "live"); !errors.Is(err, store.ErrLive) {
		t.Errorf("a live run: got %v", err)
	}
	if messages(t, js, run) == 0 {
		t.Error("there is no output to remove")
	}
	// Two at once: one of them may find it gone.
	errs := make(chan error, 2)
	for _, c := range []*client.Client{c, other} {
		go func() { errs <- c.Remove(ctx, "done") }()
	}
	for range 2 {
		if err := <-errs; err != nil && !errors.Is(err, store.ErrUnknownRun) && !errors.Is(err, store.ErrConflict) {
			t.Errorf("got %v", err)
		}
	}
	if n := messages(t, js, run); n != 0 {
		t.Errorf("%d messages of output are left", n)
	}
	if _, err := other.Query(ctx, &pb.Query{Runs: []string{"done"}}); client.Code(err) != 404 {
		t.Errorf("got %v", err)
	}
	if err := c.Remove(ctx, "done"); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("once more: got %v", err)
	}
	start("next", "exit 6")
	if next, err := c.Wait(ctx, "next"); err != nil || next.GetExitCode() != 6 {
		t.Errorf("got %v, %v", next, err)
	}
	if removed, err := other.RemoveOlder(ctx, time.Hour, nil); err != nil || len(removed) != 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	var told []string
	each := func(id string, of int) { told = append(told, fmt.Sprint(id, " of ", of)) }
	if removed, err := other.RemoveOlder(ctx, 0, each); err != nil || !slices.Equal(removed, []string{"next"}) || !slices.Equal(told, []string{"next of 1"}) {
		t.Errorf("removed %q, %v", removed, err)
	}
	if _, err := c.Abort(ctx, live.GetId(), 10*time.Second); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, "live"); err != nil {
		t.Error(err)
	}
	left, err := c.Query(ctx, &pb.Query{All: true})
	if err != nil || len(left.GetRuns()) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Of many final runs a runner keeps as many as it is told to.
func TestKeepCount(t *testing.T) {
	server := fleet.New(t)
	server.Runner(service.Config{Name: "web1", KeepCount: 5, CardInterval: 20 * time.Millisecond})
	c := server.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var last []string
	for range 20 {
		run, err := c.Start(ctx, client.Target{}, shell("echo x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Wait(ctx, run.GetId()); err != nil && client.Code(err) != 404 {
			t.Fatal(err)
		}
		last = append([]string{run.GetId()}, last...)
	}
	for {
		reply, err := c.Query(ctx, &pb.Query{All: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(reply.GetRuns()) <= 5 {
			for i, run := range reply.GetRuns() {
				if run.GetId() != last[i] {
					t.Errorf("got %s, want %s", run.GetId(), last[i])
				}
			}
			return
		}
	}
}
