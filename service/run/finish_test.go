//go:build unix

package run

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
)

// owned is a run whose record was just stored, without a life.
func (b *bench) owned(id string, state pb.State) *active {
	b.t.Helper()
	run := b.recordOf(id, "web1", state)
	rev, err := b.cfg.Store.Create(b.t.Context(), run)
	if err != nil {
		b.t.Fatal(err)
	}
	return &active{r: b.Runner, id: id, run: run, rev: rev, task: argv("true"), ended: make(chan struct{}), over: make(chan struct{})}
}

// recordOf is a run's record as a runner creates it.
func (b *bench) recordOf(id, runner string, state pb.State) *pb.Run {
	return &pb.Run{Id: id, Runner: runner, State: state, LogStream: b.cfg.Space.LogStream(), LogSubject: b.cfg.Space.Log(runner, id)}
}

func (b *bench) stored(id string) *pb.Run {
	b.t.Helper()
	run, _, err := b.cfg.Store.Get(b.t.Context(), id)
	if err != nil {
		b.t.Fatalf("%s: %v", id, err)
	}
	return run
}

// The state follows from who ended the run, if anybody did, and else from how the
// process ended.
func TestEndOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		status sandbox.Status
		cause  *cause
		state  pb.State
		reason string
	}{
		{"by itself", sandbox.Status{ExitCode: 3}, nil, pb.State_COMPLETE, pb.ReasonExit},
		{"signal", sandbox.Status{ExitCode: -1, Signal: syscall.SIGSEGV}, nil, pb.State_COMPLETE, pb.ReasonSignal},
		{"memory, and not the signal that it took", sandbox.Status{Signal: syscall.SIGKILL, OOM: true}, nil, pb.State_COMPLETE, pb.ReasonOOM},
		{"processor time", sandbox.Status{Signal: syscall.SIGXCPU, CPULimit: true}, nil, pb.State_COMPLETE, pb.ReasonCPULimit},
		{"aborted, and not the signal", sandbox.Status{Signal: syscall.SIGTERM}, causeAborted, pb.State_ABORTED, pb.ReasonAborted},
		{"aborted, though it exits well", sandbox.Status{}, causeAborted, pb.State_ABORTED, pb.ReasonAborted},
		{"too late", sandbox.Status{Signal: syscall.SIGKILL}, causeTimeout, pb.State_TIMEDOUT, pb.ReasonTimeout},
		{"too much output", sandbox.Status{Signal: syscall.SIGKILL}, causeOutputLimit, pb.State_COMPLETE, pb.ReasonOutputLimit},
		{"waited too long", sandbox.Status{}, causeExpired, pb.State_FAILED, pb.ReasonExpired},
	} {
		got := endOf(c.status, c.cause)
		if got.state != c.state || got.reason != c.reason {
			t.Errorf("%s: got %s, %s", c.name, got.state, got.reason)
		}
	}
}

// The final record has the ending and what the log adds up to.
func TestFill(t *testing.T) {
	run := &pb.Run{Id: "r", State: pb.State_RUNNING, Aborting: true}
	e := ending{state: pb.State_ABORTED, reason: pb.ReasonAborted, err: "why", compile: &pb.Step{Reason: pb.ReasonExit},
		status: sandbox.Status{ExitCode: -1, Signal: syscall.SIGTERM, CPUUser: time.Second, CPUSystem: 500 * time.Millisecond, PeakMemoryBytes: 7}}
	fill(run, e, lines.Totals{Lines: 2, Bytes: 9, SHA256: "ab", Dropped: lines.Gap{Lines: 1, Bytes: 3}})
	if run.GetState() != pb.State_ABORTED || run.GetReason() != pb.ReasonAborted || run.GetError() != "why" || run.GetAborting() {
		t.Errorf("the ending: %v", run)
	}
	if run.GetExitCode() != 0 || run.GetSignal() != "SIGTERM" || run.GetCpuTime() != 1.5 || run.GetPeakMemory() != 7 || run.GetCompile() == nil {
		t.Errorf("the process: %v", run)
	}
	if run.GetLines() != 2 || run.GetBytes() != 9 || run.GetSha256() != "ab" || run.GetDropped() != 1 || run.GetDroppedBytes() != 3 {
		t.Errorf("the output: %v", run)
	}
	ended := run.GetEnded()
	if ended == nil {
		t.Fatal("no time")
	}
	if fill(run, e, lines.Totals{}); run.GetEnded() != ended {
		t.Error("the time of the end has changed")
	}
}

// A write whose acknowledgement was lost is found to have been made.
func TestWriteMadeBefore(t *testing.T) {
	b := newBench(t, nil)
	a := b.owned("twice", pb.State_PENDING)
	start := func(run *pb.Run) { run.State = pb.State_RUNNING }
	same := a.snapshot()
	start(same)
	if _, err := b.cfg.Store.Update(t.Context(), same, a.rev); err != nil { // the lost one
		t.Fatal(err)
	}
	if !a.write(start) || a.snapshot().GetState() != pb.State_RUNNING || a.named() != nil {
		t.Errorf("got %v, cause %v", a.snapshot(), a.named())
	}
	if !a.write(func(run *pb.Run) { run.State = pb.State_COMPLETE }) { // its revision is known
		t.Error("the next one fails")
	}
	if got := b.stored("twice").GetState(); got != pb.State_COMPLETE {
		t.Errorf("stored: %s", got)
	}
}

// A record that others have made final stays so, and the run here follows it.
func TestWriteAfterTaken(t *testing.T) {
	b := newBench(t, nil)
	a := b.owned("taken", pb.State_RUNNING)
	if err := b.MarkLost(t.Context(), a.snapshot()); err != nil {
		t.Fatal(err)
	}
	b.end()
	if a.write(func(run *pb.Run) { run.State = pb.State_COMPLETE }) {
		t.Error("it was written over")
	}
	if a.named() != causeFenced || a.snapshot().GetReason() != pb.ReasonLost || b.stored("taken").GetReason() != pb.ReasonLost {
		t.Errorf("cause %v, here %v, stored %v", a.named(), a.snapshot(), b.stored("taken"))
	}
}

// A record that was removed meanwhile is not made again, and holds nobody up.
func TestWriteAfterRemoved(t *testing.T) {
	b := newBench(t, nil)
	a := b.owned("gone", pb.State_RUNNING)
	if err := b.MarkLost(t.Context(), a.snapshot()); err != nil {
		t.Fatal(err)
	}
	b.end()
	if err := b.cfg.Store.Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if a.write(func(run *pb.Run) { run.State = pb.State_COMPLETE }) {
		t.Error("it was written")
	}
	if _, _, err := b.cfg.Store.Get(t.Context(), "gone"); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("got %v", err)
	}
}

// Nothing is written once the runner has stopped: the next life does.
func TestWriteAfterStop(t *testing.T) {
	b := newBench(t, nil)
	a := b.owned("late", pb.State_RUNNING)
	b.stop(errStopped)
	if a.write(func(run *pb.Run) { run.State = pb.State_COMPLETE }) {
		t.Error("it was written")
	}
	if got := b.stored("late").GetState(); got != pb.State_RUNNING {
		t.Errorf("stored: %s", got)
	}
}

// Output above the bound is cut there, and ends the run.
func TestOutputLimit(t *testing.T) {
	b := newBench(t, nil)
	task := shellTask("yes | head -c 100000; sleep 1000")
	task.Limits = &pb.Limits{OutputBytes: bytesValue("1000")}
	b.mustStart("loud", task)
	if run := b.end(); run.GetReason() != pb.ReasonOutputLimit || run.GetBytes() != 1000 || !run.GetLogComplete() {
		t.Errorf("got %v", run)
	}
	task = shellTask("yes | head -c 1000")
	task.Limits = &pb.Limits{OutputBytes: bytesValue("1000")}
	b.mustStart("exact", task)
	if run := b.end(); run.GetReason() != pb.ReasonExit || run.GetBytes() != 1000 {
		t.Errorf("at the bound: %v", run)
	}
}
