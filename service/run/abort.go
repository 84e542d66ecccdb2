package run

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// Abort ends a run and returns its final record or, after wait, the record with
// Aborting set. A run that is final already is returned as it is. ErrNotHere
// comes with the record of a run that another runner has.
func (r *Runner) Abort(ctx context.Context, id string, wait time.Duration) (*pb.Run, error) {
	r.mu.Lock()
	j := r.byID[id]
	r.mu.Unlock()
	if j == nil {
		run, _, err := r.cfg.Store.Get(ctx, id)
		if err != nil || store.Final(run.GetState()) {
			return run, err
		}
		return run, fmt.Errorf("cannot abort run %s: %w", id, ErrNotHere)
	}
	j.end(causeAborted)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-j.done:
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return j.snapshot(), nil
}

// Recheck asks whether the runs here are still this runner's: after it was cut
// off or stopped for so long that others may have declared it dead. Those that
// are not are killed.
func (r *Runner) Recheck(ctx context.Context) {
	for _, j := range r.live() {
		select {
		case <-j.claimed:
		default:
			continue
		}
		run, _, err := r.cfg.Store.Get(ctx, j.run.GetId())
		if err != nil || !store.Final(run.GetState()) {
			continue
		}
		select {
		case <-j.done: // it ended meanwhile, by itself
		default:
			if ours := j.snapshot(); !store.Final(ours.GetState()) {
				j.fenced(store.ErrFinal)
			}
		}
	}
}
