package work

import (
	"context"
	"errors"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// IsWaiting says whether a run is work that waits in the queue: it has no record.
func IsWaiting(run *pb.Run) bool {
	return run.GetState() == pb.State_PENDING && run.GetRunner() == "" && run.GetQueued() != nil
}

// Whole is what an id means: of work of the queue its last attempt, or the one that
// it waits for (see IsWaiting); else the run of that id. The id of an attempt after
// the first means that attempt alone. Error: store.ErrUnknownRun.
func (q *Queue) Whole(ctx context.Context, id string) (*pb.Run, error) {
	run, _, err := q.cfg.Store.Get(ctx, id)
	if errors.Is(err, store.ErrUnknownRun) {
		waiting, _, waitErr := q.Waiting(ctx, id)
		if waitErr == nil {
			return waiting, nil
		}
		if waiting != nil {
			return waiting, nil
		}
		if !errors.Is(waitErr, ErrNotWaiting) {
			return nil, waitErr
		}
		return nil, err
	}
	if err != nil || run.GetQueued() == nil || run.GetAttempt() > 1 {
		return run, err
	}
	return q.Last(ctx, run)
}

// Last is the last attempt of the work that a run is the first attempt of, or the
// one that it waits for.
func (q *Queue) Last(ctx context.Context, run *pb.Run) (*pb.Run, error) {
	for store.Final(run.GetState()) {
		next, _, err := q.cfg.Store.Get(ctx, pb.AttemptID(run.GetGroup(), int(run.GetAttempt())+1))
		if errors.Is(err, store.ErrUnknownRun) {
			break
		}
		if err != nil {
			return nil, err
		}
		if next.GetQueued() == nil || next.GetGroup() != run.GetGroup() {
			break // somebody else's
		}
		run = next
	}
	if !store.Final(run.GetState()) || run.GetNext() == "" && run.Succeeded() {
		return run, nil
	}
	waiting, _, err := q.Waiting(ctx, run.GetGroup())
	switch {
	case err == nil:
		return waiting, nil
	case errors.Is(err, ErrNotWaiting):
		return run, nil
	}
	return nil, err
}
