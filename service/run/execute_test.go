package run

import (
	"errors"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
)

// What has been ended by the time it may start, doesn't: whoever asked may have
// been told that it wouldn't.
func TestEndedBeforeStart(t *testing.T) {
	a := &active{r: &Runner{start: make(chan struct{}, 1)}, run: &pb.Run{}, ended: make(chan struct{})}
	a.end(causeUnconfirmed)
	for range 100 {
		e := a.process(activity{prepare: func() start { t.Fatal("it was started"); return start{} }})
		if e.state != pb.State_FAILED || e.reason != pb.ReasonRejected {
			t.Fatalf("it ended with %+v", e)
		}
	}
	if len(a.r.start) > 0 {
		t.Error("its place at the gate was not given back")
	}
}

// A process that can't be prepared fails the run, is cleaned up after, and gives
// its place at the gate back.
func TestCannotPrepare(t *testing.T) {
	for _, slow := range []bool{false, true} {
		cleaned := 0
		a := &active{r: &Runner{start: make(chan struct{}, 1)}, run: &pb.Run{}, ended: make(chan struct{})}
		e := a.process(activity{slow: slow, prepare: func() start {
			return start{nil, errors.New("no such thing"), func() { cleaned++ }}
		}})
		if e.state != pb.State_FAILED || e.reason != pb.ReasonRejected || e.err != "no such thing" {
			t.Errorf("slow %v: got %+v", slow, e)
		}
		if cleaned != 1 || len(a.r.start) > 0 {
			t.Errorf("slow %v: cleaned up %d times, %d at the gate", slow, cleaned, len(a.r.start))
		}
	}
}

// What was prepared before the gate is undone if the run ends there.
func TestEndedAtTheGate(t *testing.T) {
	cleaned := 0
	a := &active{r: &Runner{start: make(chan struct{}, 1)}, run: &pb.Run{}, ended: make(chan struct{})}
	a.r.start <- struct{}{} // another one that is being started
	e := a.process(activity{slow: true, prepare: func() start {
		a.end(causeAborted)
		return start{cleanUp: func() { cleaned++ }}
	}})
	if e.state != pb.State_ABORTED || cleaned != 1 || len(a.r.start) != 1 {
		t.Errorf("got %+v, cleaned up %d times, %d at the gate", e, cleaned, len(a.r.start))
	}
}

// A good end is the process's own, with code 0.
func TestIsGood(t *testing.T) {
	for _, c := range []struct {
		e    ending
		good bool
	}{
		{ending{state: pb.State_COMPLETE, reason: pb.ReasonExit}, true},
		{ending{state: pb.State_COMPLETE, reason: pb.ReasonExit, status: sandbox.Status{ExitCode: 1}}, false},
		{ending{state: pb.State_COMPLETE, reason: pb.ReasonSignal}, false},
		{ending{state: pb.State_TIMEDOUT, reason: pb.ReasonTimeout}, false},
	} {
		if c.e.isGood() != c.good {
			t.Errorf("%+v: good %v", c.e, !c.good)
		}
	}
}

// Only what follows from the source alone is shared with later runs.
func TestMayShare(t *testing.T) {
	for _, c := range []struct {
		level sandbox.Isolation
		task  *pb.Task
		share bool
	}{
		{sandbox.Standard, &pb.Task{}, true}, {sandbox.Strict, &pb.Task{}, true},
		{sandbox.None, &pb.Task{}, false}, {sandbox.Strict, &pb.Task{Network: true}, false}, {sandbox.Standard, &pb.Task{User: "app"}, false},
	} {
		a := &active{task: c.task, terms: terms{isolation: c.level}}
		if a.mayShare() != c.share {
			t.Errorf("%s, %v: shared %v", c.level, c.task, !c.share)
		}
	}
}
