package run

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
)

// How often a final write is tried while NATS is away.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// finish closes the log, then makes the record final; in that order, so that
// final means complete. It waits for NATS as long as the runner lives.
func (a *active) finish(e ending, log *logs.Writer) {
	close(a.over)
	totals, logErr := log.Close(a.r.ctx, lines.End{
		State: e.state.String(), Reason: e.reason, ExitCode: exitCode(e),
		Signal: e.status.SignalName(), Error: e.err,
	})
	switch {
	case a.named() == causeFenced, errors.Is(logErr, logs.ErrFenced):
		a.yield(logErr)
		return
	case logErr != nil && a.r.ctx.Err() != nil:
		return // the next life sends the spool and says how it ended
	case logErr != nil:
		a.r.log.Error("cannot complete the log", "run", a.id, "runner", a.r.cfg.Name, "error", logErr)
	}
	if a.write(func(run *pb.Run) {
		fill(run, e, totals)
		run.LogComplete = logErr == nil
		if logErr != nil && run.Error == "" {
			run.Error = logErr.Error()
		}
	}) {
		a.r.ended(a.snapshot())
	}
}

// yield is the end of a run that was taken from this runner: its record follows
// what its log says, should whoever took it have died in between.
func (a *active) yield(why error) {
	if why != nil {
		a.fenced(why)
	}
	for wait := firstRetry; a.r.ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		run, err := a.r.closeLost(a.r.ctx, a.id, lostEnd("it was taken from its runner"))
		if err == nil {
			a.mu.Lock()
			a.run = run
			a.mu.Unlock()
			return
		}
		if errors.Is(err, store.ErrUnknownRun) {
			return // somebody has removed it since
		}
		a.r.log.Warn("cannot read how a run ended, trying again", "run", a.id, "error", err)
		sleep(a.r.ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ended tells of a run whose record has become final.
func (r *Runner) ended(run *pb.Run) {
	r.log.Info("run ended", "run", run.GetId(), "runner", run.GetRunner(), "state", run.GetState().String(),
		"reason", run.GetReason(), "exitCode", run.GetExitCode(), "lines", run.GetLines(), "bytes", run.GetBytes())
	r.cfg.OnEnd(run)
}

// write changes the record, again and again until NATS has it. It returns false
// when the record is not this runner's any more, or the runner stops. Nobody
// sees the change before NATS has it.
func (a *active) write(change func(*pb.Run)) bool {
	next := a.snapshot()
	change(next)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		rev, err := a.r.cfg.Store.Update(a.r.ctx, next, a.rev)
		if errors.Is(err, store.ErrFinal) || errors.Is(err, store.ErrConflict) {
			// Perhaps by this very change, whose acknowledgement was lost.
			if current, now, getErr := a.r.cfg.Store.Get(a.r.ctx, a.id); getErr == nil && proto.Equal(current, next) {
				rev, err = now, nil
			}
		}
		switch {
		case err == nil:
			a.became(next, rev)
			return true
		case errors.Is(err, store.ErrFinal), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrUnknownRun):
			a.yield(err)
			return false
		case a.r.ctx.Err() != nil:
			return false
		case errors.Is(err, store.ErrIllegalMove), errors.Is(err, store.ErrTooLarge):
			a.r.log.Error("cannot write a run's record", "run", a.id, "error", err) // never will
			return false
		}
		a.r.log.Warn("cannot write a run's record, trying again", "run", a.id, "error", err)
		sleep(a.r.ctx, wait)
	}
}

func (a *active) became(next *pb.Run, rev uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next.Aborting = a.cause == causeAborted && !store.Final(next.GetState())
	a.run, a.rev = next, rev
}

func fill(run *pb.Run, e ending, totals lines.Totals) {
	run.State, run.Reason, run.Error = e.state, e.reason, e.err
	run.ExitCode, run.Signal = exitCode(e), e.status.SignalName()
	run.Aborting = false
	if e.state != pb.State_ABORTED { // it had ended when the abort came
		run.AbortedBy, run.AbortedAt = "", nil
	}
	if run.GetEnded() == nil {
		run.Ended = timestamppb.Now()
	}
	run.Lines, run.Bytes, run.Sha256 = totals.Lines, totals.Bytes, totals.SHA256
	run.Dropped, run.DroppedBytes = totals.Dropped.Lines, totals.Dropped.Bytes
	run.CpuTime = (e.status.CPUUser + e.status.CPUSystem).Seconds()
	run.PeakMemory = e.status.PeakMemoryBytes
	run.Compile = e.compile
	run.Next = run.NextAttempt()
}

// exitCode is 0 for a run that died of a signal: signal says which.
func exitCode(e ending) int32 {
	return int32(max(0, e.status.ExitCode))
}
