package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// A beginning finds a run if it is the only one; a whole id always does.
func TestFind(t *testing.T) {
	f := fleet.New(t, service.Config{Name: "web1"})
	c := f.Client()
	ctx := rig.Within(t, rig.Patience)
	for _, id := range []string{"deploy-1", "deploy-10", "backup"} {
		req := shell("true")
		req.Metadata = &pb.Metadata{Id: id}
		if _, err := c.Start(ctx, client.Target{}, req); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for beginning, want := range map[string]string{"b": "backup", "backup": "backup", "deploy-10": "deploy-10", "deploy-1": "deploy-1"} {
		if run, err := c.Find(ctx, beginning); err != nil || run.GetId() != want {
			t.Errorf("%s: got %s, %v", beginning, run.GetId(), err)
		}
	}
	if _, err := c.Find(ctx, "deploy"); err == nil || !strings.Contains(err.Error(), "deploy-1") {
		t.Errorf("of two: got %v", err)
	}
	if _, err := c.Find(ctx, "nothing"); !errors.Is(err, client.ErrUnknownRun) {
		t.Errorf("of none: got %v", err)
	}
	if _, err := c.Find(ctx, ""); err == nil {
		t.Error("an empty id finds a run")
	}
}

// A runner that is watched is seen as it is, when it changes and when it is
// forgotten; an error ends the watch.
func TestWatchRunners(t *testing.T) {
	f := fleet.New(t)
	web := f.Runner(service.Config{Name: "web1", CardInterval: 20 * time.Millisecond})
	f.Runner(service.Config{Name: "db1"})
	c := f.Client()
	enough := errors.New("enough")
	seen := map[string]int{}
	err := c.WatchRunners(rig.Within(t, rig.Patience), func(r client.Runner) error {
		seen[r.Card.GetName()]++
		if seen["web1"] > 3 && seen["db1"] > 0 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("got %v with %v", err, seen)
	}
	if err := c.Forget(t.Context(), "web1"); !errors.Is(err, client.ErrLive) {
		t.Errorf("forgetting one that is online: %v", err)
	}
	web.Close()
	if err := c.Forget(t.Context(), "web1"); err != nil {
		t.Errorf("forgetting one that has stopped: %v", err)
	}
	if runners, err := c.Runners(t.Context()); err != nil || len(runners) != 1 || runners[0].Card.GetName() != "db1" {
		t.Errorf("got %v, %v", runners, err)
	}
}

// Aborting many ends all of them, and tells of one that is not there.
func TestAbortAll(t *testing.T) {
	f := fleet.New(t, service.Config{Name: "web1"})
	c := f.Client()
	ctx := rig.Within(t, rig.Patience)
	var ids []string
	for range 5 {
		run, err := c.Start(ctx, client.Target{}, shell("sleep 1000"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, run.GetId())
	}
	if err := c.AbortAll(ctx, append(ids, "nobody")); !errors.Is(err, client.ErrUnknownRun) {
		t.Errorf("got %v", err)
	}
	for _, id := range ids {
		if run, err := c.Wait(ctx, id); err != nil || run.GetState() != pb.State_ABORTED {
			t.Errorf("%s: %v, %v", id, run.GetState(), err)
		}
	}
}
