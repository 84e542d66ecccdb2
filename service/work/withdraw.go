package work

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
)

// withdrawTries is for work that is started while it is being removed.
const withdrawTries = 5

// Withdraw removes work that waits: it claims the attempt that would be next as
// ABORTED, so that no runner can start it, whatever it holds by then, and takes
// the message away. Error: ErrNotWaiting, with the last attempt if there is one:
// it runs, or has ended. The id may be that of the attempt which it waits for.
func (q *Queue) Withdraw(ctx context.Context, id, why string) (*pb.Run, error) {
	of := pb.WorkOf(id)
	for range withdrawTries {
		run, w, err := q.Waiting(ctx, of)
		if err == nil && id != of && run.GetId() != id {
			return nil, ErrNotWaiting
		}
		if err != nil {
			return run, err
		}
		run = q.ended(run, ending{pb.State_ABORTED, pb.ReasonAborted, why})
		_, err = q.cfg.Store.Create(ctx, run)
		switch {
		case errors.Is(err, store.ErrExists):
			continue
		case err != nil && !errors.Is(err, store.ErrRemoved):
			return nil, fmt.Errorf("cannot remove %s from the queue: %w", id, err)
		}
		return run, q.Remove(ctx, w.Seq)
	}
	return nil, fmt.Errorf("cannot remove %s from the queue: its attempts change all the time", id)
}

// noRunner stands in the subject of a log that nobody writes.
const noRunner = "queue"

// purgeAtOnce is how much work is withdrawn at a time.
const purgeAtOnce = 32

// Purge withdraws all work of a pool that waits now, and says how much it was.
func (q *Queue) Purge(ctx context.Context, pool, why string) (n int, err error) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs error
	)
	gate := make(chan struct{}, purgeAtOnce)
	err = q.Each(ctx, pool, func(_ *pb.Run, w Work) bool {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			_, err := q.Withdraw(ctx, w.ID, why)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				n++
			case !errors.Is(err, ErrNotWaiting) && errs == nil:
				errs = err
			}
		})
		mu.Lock()
		defer mu.Unlock()
		return errs == nil
	})
	wg.Wait()
	return n, errors.Join(err, errs)
}

// Retry puts work that has failed back into the queue, for one more attempt
// after its last. Error: ErrNoRetry, if
// nothing is kept of it.
func (q *Queue) Retry(ctx context.Context, last *pb.Run) (Accepted, error) {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return Accepted{}, err
	}
	id := last.GetGroup()
	e, err := b.GetLeader(ctx, keyFailed+id)
	if errors.Is(err, kv.ErrNoKey) {
		return Accepted{}, noRetry{id, "its request is not kept; queue it anew under another id"}
	}
	if err != nil {
		return Accepted{}, fmt.Errorf("cannot try %s again: %w", id, err)
	}
	w, _ := q.Stored(stream.Message{Data: e.Body, Header: headerOf(e.Body)})
	w.ID = id
	req, err := w.Request()
	if err != nil {
		return Accepted{}, err
	}
	queued := last.GetQueued()
	accepted, err := q.Put(ctx, Item{
		Pool: queued.GetPool(), Priority: queued.GetPriority(), Request: req, Attempt: int(last.GetAttempt()) + 1, Traceparent: last.GetTraceparent(),
	})
	if err != nil {
		return accepted, err
	}
	return accepted, b.Delete(ctx, e.Key, e.Rev, 0)
}
