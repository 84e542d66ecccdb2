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
		waiting, waitErr := q.waitingAs(ctx, id)
		if waiting == nil && errors.Is(waitErr, ErrNotWaiting) {
			return nil, err
		}
		return waiting, waitErr
	}
	if err != nil || run.GetQueued() == nil || run.GetAttempt() > 1 {
		return run, err
	}
	return q.Last(ctx, run)
}

// waitingAs is the attempt of an id that work waits for; of the id of work, whose
// first attempt has no record, whichever it waits for. Error: ErrNotWaiting, but
// where its message has led to a record just now.
func (q *Queue) waitingAs(ctx context.Context, id string) (*pb.Run, error) {
	of := pb.WorkOf(id)
	run, _, err := q.Waiting(ctx, of)
	switch {
	case err != nil && !errors.Is(err, ErrNotWaiting):
		return nil, err
	case run == nil, id != of && run.GetId() != id:
		return nil, ErrNotWaiting
	}
	return run, nil
}

// WaitingAmong are those of some runs that have no record and are attempts which
// work waits for, and why. It ends at the first that is unknown.
func (q *Queue) WaitingAmong(ctx context.Context, ids []string) (waiting []*pb.Run, err error) {
	for _, id := range ids {
		_, _, err := q.cfg.Store.Get(ctx, id)
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrUnknownRun) {
			return nil, err
		}
		run, waitErr := q.waitingAs(ctx, id)
		if errors.Is(waitErr, ErrNotWaiting) {
			return nil, err
		}
		if waitErr != nil {
			return nil, waitErr
		}
		if run.GetId() == id && IsWaiting(run) {
			waiting = append(waiting, run)
		}
	}
	return waiting, q.Explain(ctx, waiting)
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
