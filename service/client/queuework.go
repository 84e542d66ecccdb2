package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/client/internal/link"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/work"
	"github.com/runnel-io/runnel/subjects"
)

// QueueLine is how much work of one pool and priority waits and runs.
type QueueLine = work.Line

// QueueConflict is a message that was dropped, since another request had its id.
type QueueConflict = work.Conflict

// Queue counts the work by pool and priority. It costs as much as there are pools
// and runs, however much waits. It needs no runner. No queue is no error.
func (c *Client) Queue(ctx context.Context) ([]QueueLine, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, noneIfUnused(err)
	}
	lines, err := q.Lines(ctx)
	return lines, noneIfUnused(err)
}

// QueueConflicts lists the messages that were dropped lately, since another request
// had their id.
func (c *Client) QueueConflicts(ctx context.Context) ([]QueueConflict, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, noneIfUnused(err)
	}
	found, err := q.Conflicts(ctx)
	return found, noneIfUnused(err)
}

func noneIfUnused(err error) error {
	if errors.Is(err, work.ErrNoQueue) || errors.Is(err, store.ErrNoFleet) {
		return nil
	}
	return err
}

// Whole is what an id means: of work of the queue its last attempt, or the one that
// it waits for, as a PENDING run without a runner; else the run. The id of a later
// attempt means that attempt. Error: ErrUnknownRun.
func (c *Client) Whole(ctx context.Context, id string) (*pb.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, c.link.Timeout)
	defer cancel()
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, err
	}
	ctx, done := c.link.Deniable(ctx, link.ReadingRecords)
	defer done()
	run, err := q.Whole(ctx, id)
	return run, link.OrDenied(ctx, err)
}

// IsWaiting says whether a run is work that waits in the queue.
func IsWaiting(run *pb.Run) bool { return work.IsWaiting(run) }

// Attempt is a numbered attempt of work, by the work's id. Error: ErrUnknownRun.
func (c *Client) Attempt(ctx context.Context, id string, n int) (*pb.Run, error) {
	return c.Status(ctx, pb.AttemptID(id, n))
}

// Attempts are those that work had so far, the first one first.
func (c *Client) Attempts(ctx context.Context, id string) (all []*pb.Run, err error) {
	for n := 1; ; n++ {
		run, err := c.Attempt(ctx, id, n)
		if errors.Is(err, store.ErrUnknownRun) && n > 1 {
			return all, nil
		}
		if err != nil || n > 1 && run.GetGroup() != id {
			return all, err
		}
		all = append(all, run)
	}
}

// WaitingWork calls each with the work that waits, oldest first, until it says no.
// No queue is no error.
func (c *Client) WaitingWork(ctx context.Context, pool string, each func(*pb.Run) (more bool)) error {
	q, err := c.link.Queue(ctx)
	if err == nil {
		err = q.Each(ctx, pool, func(run *pb.Run, _ work.Work) bool { return each(run) })
	}
	return noneIfUnused(err)
}

// WaitingOptions say which work that waits is listed.
type WaitingOptions struct {
	// Pool whose work it is. Default: any.
	Pool string
	// Limit is how much at most.
	Limit int
	// Next is from the page before.
	Next string
}

// WaitingPage lists work that waits, oldest first, and why it does. next is not
// empty when there is more. No queue is no error.
func (c *Client) WaitingPage(ctx context.Context, opts WaitingOptions) (page []*pb.Run, next string, err error) {
	seq := uint64(1)
	if opts.Next != "" {
		if seq, err = strconv.ParseUint(opts.Next, 10, 64); err != nil {
			return nil, "", pb.Invalid("next: %q is not from a reply", opts.Next)
		}
	}
	if opts.Pool != "" && subjects.Token(opts.Pool) != nil {
		return nil, "", pb.Invalid("pool: %q is none", opts.Pool)
	}
	q, err := c.link.Queue(ctx)
	if err == nil {
		err = q.EachFrom(ctx, opts.Pool, seq, func(run *pb.Run, w work.Work) bool {
			if len(page) == opts.Limit {
				next = strconv.FormatUint(w.Seq, 10)
				return false
			}
			page = append(page, run)
			return true
		})
	}
	if err == nil {
		err = q.Explain(ctx, page)
	}
	return page, next, noneIfUnused(err)
}

// ExplainWaiting says of each run that waits in the queue, in queued.waits and
// queued.why, why it does.
func (c *Client) ExplainWaiting(ctx context.Context, runs ...*pb.Run) error {
	q, err := c.link.Queue(ctx)
	if err == nil {
		err = q.Explain(ctx, runs)
	}
	return noneIfUnused(err)
}

// NewestWaiting is the work that waits and was accepted last, newest first.
func (c *Client) NewestWaiting(ctx context.Context, limit int, matches func(*pb.Run) bool) ([]*pb.Run, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, noneIfUnused(err)
	}
	found, err := q.Newest(ctx, limit, matches)
	return found, noneIfUnused(err)
}

// Dequeue removes work that waits: it can never start, and its record says
// ABORTED. It needs no runner. Error: ErrNotWaiting.
func (c *Client) Dequeue(ctx context.Context, id string) (*pb.Run, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, err
	}
	return q.Withdraw(ctx, id, "removed from the queue")
}

// Purge removes all work of a pool that waits now, as Dequeue does, and says how
// much it was.
func (c *Client) Purge(ctx context.Context, pool string) (int, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return 0, err
	}
	if err := subjects.Token(pool); err != nil {
		return 0, pb.Invalid("cannot use pool: %s", err)
	}
	return q.Purge(ctx, pool, "its pool's queue was purged")
}

// Retry has work that has failed tried once more, whatever its number of attempts
// is, and returns the new attempt's id. Errors: ErrUnknownRun, or one that says why
// it can't be.
func (c *Client) Retry(ctx context.Context, id string) (string, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return "", err
	}
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

// noRetry is an ErrNoRetry.
type noRetry struct{ id, why string }

func (e noRetry) Error() string        { return "cannot try " + e.id + " again: " + e.why }
func (e noRetry) Is(target error) bool { return target == ErrNoRetry }

// FailedWork are the last attempts of work that has failed, and can be tried again.
func (c *Client) FailedWork(ctx context.Context) ([]*pb.Run, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, noneIfUnused(err)
	}
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
	return failed, noneIfUnused(err)
}

// UnconfirmedError says that a pool is paused or resumed, and which of its online
// runners have not said that they know.
type UnconfirmedError struct {
	Pool    string
	Runners []string
}

func (e *UnconfirmedError) Error() string {
	return fmt.Sprintf("pool %s: no confirmation of %s", e.Pool, strings.Join(e.Runners, ", "))
}

// Pause has a pool's runners take no more work of the queue, and returns when each
// one that is online has confirmed: nothing is started then until Resume. Error:
// *UnconfirmedError.
func (c *Client) Pause(ctx context.Context, pool, by string) error {
	q, err := c.link.MakeQueue(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	return c.setPaused(ctx, q, pool, &work.Pause{By: by, Since: now})
}

// Resume ends a pause. Error: *UnconfirmedError.
func (c *Client) Resume(ctx context.Context, pool string) error {
	q, err := c.link.MakeQueue(ctx)
	if err != nil {
		return err
	}
	return c.setPaused(ctx, q, pool, nil)
}

func (c *Client) setPaused(ctx context.Context, q *work.Queue, pool string, pause *work.Pause) error {
	if err := subjects.Token(pool); err != nil {
		return pb.Invalid("cannot use pool: %s", err)
	}
	if err := q.SetPaused(ctx, pool, pause); err != nil {
		return err
	}
	missing := map[string]bool{}
	runners, err := c.Runners(ctx)
	if err != nil {
		return err
	}
	for _, seen := range runners {
		if seen.Online && slices.Contains(seen.Card.GetPools(), pool) {
			missing[seen.Card.GetName()] = true
		}
	}
	if err := c.confirm(ctx, pool, pause != nil, missing); err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	e := &UnconfirmedError{Pool: pool}
	for name := range missing {
		e.Runners = append(e.Runners, name)
	}
	slices.Sort(e.Runners)
	return e
}

// confirm tells a pool's runners and takes those out of missing that confirm.
func (c *Client) confirm(ctx context.Context, pool string, paused bool, missing map[string]bool) error {
	replies := make(chan *nats.Msg, 64)
	inbox := c.link.NC.NewInbox()
	sub, err := c.link.NC.ChanSubscribe(inbox, replies)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	timeout := time.NewTimer(c.link.Timeout)
	defer timeout.Stop()
	again := time.NewTicker(c.link.Timeout / 4)
	defer again.Stop()
	if err := c.link.NC.PublishRequest(c.link.Space.QueueTell(pool), inbox, nil); err != nil {
		return err
	}
	for len(missing) > 0 {
		select {
		case m := <-replies:
			var said struct {
				Runner string `json:"runner"`
				Paused bool   `json:"paused"`
			}
			if json.Unmarshal(m.Data, &said) == nil && said.Paused == paused {
				delete(missing, said.Runner)
			}
		case <-again.C: // a runner may just have come back
			if err := c.link.NC.PublishRequest(c.link.Space.QueueTell(pool), inbox, nil); err != nil {
				return err
			}
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// abortWaiting is Abort where no runner is online: what waits in the queue can be
// removed all the same.
func (c *Client) abortWaiting(ctx context.Context, id string) (*pb.Run, bool) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, false
	}
	run, err := q.Withdraw(ctx, id, "removed from the queue")
	return run, err == nil
}
