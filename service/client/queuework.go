package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
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

// Whole returns the run that an id means: for work of the queue its last attempt, or
// the one that it waits for, as a PENDING run without a runner; else the run itself.
// The id of a later attempt means that attempt. Error: ErrUnknownRun.
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

// Shown is the run of an id as it is now, or the attempt that work of the queue waits
// for, and why. Error: ErrUnknownRun.
func (c *Client) Shown(ctx context.Context, id string) (*pb.Run, error) {
	run, err := c.Status(ctx, id)
	if !errors.Is(err, ErrUnknownRun) {
		return run, err
	}
	waiting, wholeErr := c.Whole(ctx, id)
	if wholeErr != nil {
		return nil, err
	}
	return waiting, c.ExplainWaiting(ctx, waiting)
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
	of := work.PageOf{Pool: opts.Pool, Limit: opts.Limit, Next: opts.Next}
	if err := of.Validate(); err != nil {
		return nil, "", err
	}
	q, err := c.link.Queue(ctx)
	if err == nil {
		page, next, err = q.Page(ctx, of)
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

// Purge removes all waiting work of a pool, as Dequeue does, and returns how much it
// was.
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

// Retry gives failed work one more attempt, whatever its number of attempts is, and
// returns the new attempt's id. Errors: ErrUnknownRun, or one that says why it can't.
func (c *Client) Retry(ctx context.Context, id string) (string, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return "", err
	}
	return q.RetryWork(ctx, id)
}

// FailedWork are the last attempts of work that has failed, and can be tried again.
func (c *Client) FailedWork(ctx context.Context) ([]*pb.Run, error) {
	q, err := c.link.Queue(ctx)
	if err != nil {
		return nil, noneIfUnused(err)
	}
	failed, err := q.FailedRuns(ctx)
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

// Pause stops a pool's runners from taking work of the queue, and returns when each
// one that is online has confirmed: from then on, nothing starts until Resume. Error:
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
	runners, err := c.Runners(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, seen := range runners {
		if seen.Online && slices.Contains(seen.Card.GetPools(), pool) {
			names = append(names, seen.Card.GetName())
		}
	}
	silent, err := q.Confirm(ctx, work.Told{Pool: pool, Paused: pause != nil, Runners: names, Patience: c.link.Timeout})
	if err == nil && len(silent) > 0 {
		err = &UnconfirmedError{Pool: pool, Runners: silent}
	}
	return err
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
