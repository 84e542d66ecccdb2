package work

import (
	"context"
	"errors"
	"slices"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// ErrNoRetry: work can't be tried again; the error says why.
var ErrNoRetry = errors.New("it can't be tried again")

// noRetry is an ErrNoRetry.
type noRetry struct{ id, why string }

func (e noRetry) Error() string        { return "cannot try " + e.id + " again: " + e.why }
func (e noRetry) Is(target error) bool { return target == ErrNoRetry }

// RetryWork has work that has failed tried once more, whatever its number of attempts
// is, and returns the new attempt's id. Errors: store.ErrUnknownRun, ErrNoRetry, or
// one that says why it can't.
func (q *Queue) RetryWork(ctx context.Context, id string) (string, error) {
	last, err := q.Whole(ctx, pb.WorkOf(id))
	switch {
	case err != nil:
		return "", err
	case last.GetQueued() == nil:
		return "", noRetry{id, "it did not come from the queue"}
	case !store.Final(last.GetState()):
		return "", noRetry{id, "it is " + last.GetState().String()}
	case last.Succeeded():
		return "", noRetry{id, "it has succeeded"}
	}
	if _, err := q.Retry(ctx, last); err != nil {
		return "", err
	}
	return pb.AttemptID(last.GetGroup(), int(last.GetAttempt())+1), nil
}

// FailedRuns are the last attempts of work that has failed and can be tried again,
// the one that ended last first.
func (q *Queue) FailedRuns(ctx context.Context) ([]*pb.Run, error) {
	ids, err := q.Failed(ctx)
	var failed []*pb.Run
	for _, id := range ids {
		run, err := q.Whole(ctx, id)
		if errors.Is(err, store.ErrUnknownRun) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if store.Final(run.GetState()) && !run.Succeeded() {
			failed = append(failed, run)
		}
	}
	slices.SortFunc(failed, func(a, b *pb.Run) int { return b.GetEnded().AsTime().Compare(a.GetEnded().AsTime()) })
	return failed, err
}
