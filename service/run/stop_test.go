//go:build unix

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

const stubborn = "trap '' TERM; echo up; while :; do sleep 0.1; done"

// A runner without runs is drained at once, and takes none from then on.
func TestDrainIdle(t *testing.T) {
	told := make(chan struct{}, 10)
	b := newBench(t, func(cfg *Config) { cfg.OnPlaces = func() { told <- struct{}{} } })
	b.Drain(t.Context())
	if len(told) != 1 {
		t.Errorf("others were told %d times", len(told))
	}
	if load := b.Load(); !load.Draining || load.Free {
		t.Errorf("load %+v", load)
	}
	for _, forced := range []bool{false, true} {
		if _, err := b.Admit(forced); !errors.Is(err, ErrDraining) {
			t.Errorf("forced %v: %v", forced, err)
		}
	}
}

// A drain waits for the line as well as for what runs.
func TestDrainWaitsForTheLine(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.Slots = 1 })
	gate := filepath.Join(t.TempDir(), "gate")
	b.mustStart("runs", shellTask(fmt.Sprintf("until test -e %s; do sleep 0.01; done", gate)))
	b.mustStart("waits", argv("true"))
	drained := make(chan struct{})
	go func() { b.Drain(context.Background()); close(drained) }()
	rig.Eventually(t, "it drains", func() bool { return b.Load().Draining })
	select {
	case <-drained:
		t.Error("it did not wait")
	default:
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"runs", "waits"} {
		if run := b.end(); run.GetId() != id || run.GetState() != pb.State_COMPLETE {
			t.Errorf("got %v", run)
		}
	}
	<-drained
}

// Close kills what runs, and what waits has never begun.
func TestCloseEndsAll(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.Slots = 1 })
	b.mustStart("runs", &pb.Task{Commands: []string{stubborn}, Grace: "1h"})
	b.mustStart("waits", argv("true"))
	b.Close()
	b.Close() // twice is once
	for range 2 {
		run := b.end()
		if run.GetState() != pb.State_ABORTED || run.GetError() != "the runner was stopped" || (run.GetStarted() != nil) != (run.GetId() == "runs") {
			t.Errorf("got %v", run)
		}
		if stored := b.stored(run.GetId()); stored.GetState() != pb.State_ABORTED {
			t.Errorf("stored: %v", stored)
		}
	}
	if _, err := b.Admit(false); !errors.Is(err, ErrDraining) {
		t.Errorf("got %v", err)
	}
}

// An abort that can't wait for the end says that the run is being aborted.
func TestAbortWithoutPatience(t *testing.T) {
	b := newBench(t, nil)
	up := filepath.Join(t.TempDir(), "up")
	b.mustStart("slow", &pb.Task{Commands: []string{"trap '' TERM; : >" + up + "; while :; do sleep 0.1; done"}, Grace: "1h"})
	rig.Eventually(t, "SIGTERM is ignored", func() bool { _, err := os.Stat(up); return err == nil })
	run, err := b.Abort(t.Context(), "slow", 0, "")
	if err != nil || run.GetState() != pb.State_RUNNING || !run.GetAborting() {
		t.Errorf("got %v, %v", run, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Abort(gone, "slow", time.Hour, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v", err)
	}
	b.Runner.Kill() // takes the hour away
	if run := b.end(); run.GetState() != pb.State_ABORTED || run.GetSignal() != "SIGKILL" || run.GetAborting() {
		t.Errorf("got %v", run)
	}
}

// A cause of a run that was not begun is signalled to the process when it comes.
func TestHastenShortensGrace(t *testing.T) {
	a := &active{run: &pb.Run{}, ended: make(chan struct{}), grace: time.Hour}
	a.hasten(causeAborted, time.Second)
	a.hasten(causeAborted, time.Minute) // no longer again
	if a.grace != time.Second || a.named() != causeAborted || a.hurry {
		t.Errorf("grace %s, cause %v, hurry %v", a.grace, a.named(), a.hurry)
	}
	if a.kill(); !a.hurry || a.named() != causeAborted {
		t.Errorf("killed: hurry %v, cause %v", a.hurry, a.named())
	}
}

// The processes of all runs are over when each run's are, or its life is.
func TestAllOver(t *testing.T) {
	first := &active{over: make(chan struct{}), done: make(chan struct{})}
	second := &active{over: make(chan struct{}), done: make(chan struct{})}
	over := allOver([]*active{first, second}, nil)
	close(first.over)
	select {
	case <-over:
		t.Error("one of two was enough")
	default:
	}
	close(second.done) // it ended without a process
	<-over
	done := make(chan struct{})
	close(done)
	<-allOver([]*active{{}}, done) // the runner has no lives left
}

// The last moment is set once: a second stop leaves no more time.
func TestLastMoment(t *testing.T) {
	r := New(Config{})
	r.setLast()
	first := r.last
	if left := time.Until(first); left <= 0 || left > closeTimeout {
		t.Errorf("%s are left", left)
	}
	if r.setLast(); r.last != first {
		t.Error("it was moved")
	}
}
