package run

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/store"
)

// How often a final write is tried while NATS is away.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// finish closes the log, then makes the record final; in that order, so that
// final means complete. It waits for NATS as long as the runner lives.
func (j *job) finish(e ending, closeLog func(context.Context, lines.End) (lines.Totals, error)) {
	totals, logErr := closeLog(j.r.ctx, lines.End{
		State: e.state.String(), Reason: e.reason, ExitCode: exitCode(e),
		Signal: e.status.SignalName(), Error: e.err,
	})
	if j.named() == causeFenced {
		return
	}
	if logErr != nil {
		j.r.log.Error("cannot complete the log", "run", j.run.GetId(), "runner", j.r.cfg.Name, "error", logErr)
		if j.r.ctx.Err() != nil {
			return // the next life sends the spool and says how it ended
		}
	}
	written := j.write(func(run *pb.Run) {
		fill(run, e, totals)
		run.LogComplete = logErr == nil
		if logErr != nil && run.Error == "" {
			run.Error = logErr.Error()
		}
	})
	if written {
		j.r.ended(j.snapshot())
	}
}

// ended tells of a run whose record has become final.
func (r *Runner) ended(run *pb.Run) {
	r.log.Info("run ended", "run", run.GetId(), "runner", run.GetRunner(), "state", run.GetState().String(),
		"reason", run.GetReason(), "exitCode", run.GetExitCode(), "lines", run.GetLines(), "bytes", run.GetBytes())
	r.cfg.OnEnd(run)
}

// write changes the record, again and again until NATS has it. It returns false
// when the record is not this runner's any more, or the runner stops.
func (j *job) write(change func(*pb.Run)) bool {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := j.update(j.r.ctx, change)
		switch {
		case err == nil:
			return true
		case errors.Is(err, store.ErrFinal), errors.Is(err, store.ErrConflict):
			if j.settled() {
				return true
			}
			j.fenced(err)
			return false
		case errors.Is(err, store.ErrUnknownRun):
			j.fenced(err)
			return false
		}
		j.r.log.Warn("cannot write a run's record, trying again", "run", j.run.GetId(), "error", err)
		select {
		case <-time.After(wait):
		case <-j.r.ctx.Done():
			return false
		}
	}
}

// settled says whether the record in KV is the one that was just to be written:
// its acknowledgement was lost on the way. Else somebody took the run.
func (j *job) settled() bool {
	current, rev, err := j.r.cfg.Store.Get(j.r.ctx, j.run.GetId())
	if err != nil || !proto.Equal(current, j.snapshot()) {
		return false
	}
	j.rev = rev
	return true
}

func fill(run *pb.Run, e ending, totals lines.Totals) {
	run.State, run.Reason, run.Error = e.state, e.reason, e.err
	run.ExitCode, run.Signal = exitCode(e), e.status.SignalName()
	run.Aborting = false
	if run.GetEnded() == nil {
		run.Ended = timestamppb.Now()
	}
	run.Lines, run.Bytes, run.Sha256 = totals.Lines, totals.Bytes, totals.SHA256
	run.Dropped, run.DroppedBytes = totals.Dropped.Lines, totals.Dropped.Bytes
	run.CpuTime = (e.status.CPUUser + e.status.CPUSystem).Seconds()
	run.PeakMemory = e.status.PeakMemoryBytes
}

// exitCode is 0 for a run that died of a signal: signal says which.
func exitCode(e ending) int32 {
	return int32(max(0, e.status.ExitCode))
}
