package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

// Follow tells of each record from the first on, and of nothing that was there before.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := open(t, rig.Memory(t), Config{})
	ctx, end := context.WithCancel(t.Context())
	var mu sync.Mutex
	seen := map[string]string{}
	began, done := make(chan struct{}), make(chan error, 1)
	follow := func() {
		done <- s.Follow(ctx, func() { close(began) }, func(id string, read func() (*pb.Run, error)) {
			mu.Lock()
			defer mu.Unlock()
			seen[id] = "removed"
			if read != nil {
				run, err := read()
				if err != nil {
					t.Errorf("record %s: %v", id, err)
				}
				seen[id] = run.GetState().String()
			}
		})
	}
	is := func(id, want string) {
		t.Helper()
		rig.EventuallyIn(t, time.Minute, id+" is "+want, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return seen[id] == want
		})
	}
	go follow()
	<-began // with nothing in the bucket yet
	run := newRun("first", pb.State_RUNNING)
	rev, err := s.Create(ctx, run)
	if err != nil {
		t.Fatal(err)
	}
	is("first", "RUNNING")
	run.State, run.LogComplete = pb.State_COMPLETE, true
	if _, err := s.Update(ctx, run, rev); err != nil {
		t.Fatal(err)
	}
	is("first", "COMPLETE")
	end()
	if err := <-done; err != nil {
		t.Errorf("at its end: %v", err)
	}

	ctx, end = context.WithCancel(t.Context())
	defer end()
	clear(seen)
	began = make(chan struct{})
	go follow()
	<-began
	if _, err := s.Create(ctx, newRun("second", pb.State_RUNNING)); err != nil {
		t.Fatal(err)
	}
	is("second", "RUNNING")
	if err := s.Remove(ctx, "first"); err != nil {
		t.Fatal(err)
	}
	is("first", "removed")
	end()
	<-done
}
