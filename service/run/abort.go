package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// Abort ends a run and returns its final record or, after wait, the record with
// Aborting set. A run that is final already is returned as it is. ErrNotHere
// comes with the record of a run that another runner has. by is who asks, as claimed.
func (r *Runner) Abort(ctx context.Context, id string, wait time.Duration, by string) (*pb.Run, error) {
	r.mu.Lock()
	a := r.byID[id]
	r.mu.Unlock()
	if a == nil {
		run, _, err := r.cfg.Store.Get(ctx, id)
		if err != nil || store.Final(run.GetState()) {
			return run, err
		}
		if r.Orphan(run) {
			return r.closeLost(ctx, id, lostEnd("its runner has forgotten it"))
		}
		return run, fmt.Errorf("cannot abort run %s: %w", id, ErrNotHere)
	}
	a.abort(by)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-a.done:
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	run := a.snapshot()
	run.Aborting = !store.Final(run.GetState()) // also one that something else is ending
	return run, nil
}

// abort ends the run and notes for whom and when, unless it is ending already.
func (a *active) abort(by string) {
	a.mu.Lock()
	if a.cause == nil {
		a.run.AbortedBy, a.run.AbortedAt = by, timestamppb.Now()
	}
	a.mu.Unlock()
	a.end(causeAborted)
}

// Orphan says whether a live record names this runner, and this runner has no
// such run: nobody has it. The record must have been read before.
func (r *Runner) Orphan(run *pb.Run) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return run.GetRunner() == r.cfg.Name && !store.Final(run.GetState()) && r.byID[run.GetId()] == nil
}

// Recheck asks whether the runs here are still this runner's: after it was cut
// off or stopped for so long that others may have declared it dead. Those that
// are not are killed. An error says that some could not be asked about.
func (r *Runner) Recheck(ctx context.Context) (err error) {
	for _, a := range r.live() {
		select {
		case <-a.claimed:
		default:
			continue
		}
		run, _, getErr := r.cfg.Store.Get(ctx, a.id)
		if getErr != nil && !errors.Is(getErr, store.ErrUnknownRun) {
			err = getErr
			continue
		}
		if getErr == nil && !store.Final(run.GetState()) {
			continue
		}
		select {
		case <-a.done: // it ended meanwhile, by itself
		default:
			if ours := a.snapshot(); !store.Final(ours.GetState()) {
				a.fenced(store.ErrFinal)
			}
		}
	}
	return err
}
