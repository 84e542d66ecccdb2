package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Query asks the fleet for runs; see pb.Query.
func (c *Client) Query(ctx context.Context, q *pb.Query) (*pb.QueryReply, error) {
	wait, err := q.WaitTime()
	if err != nil {
		return nil, err
	}
	var reply pb.QueryReply
	req := &pb.QueryRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.QuerySpec{Query: q}}
	err = c.link.Anyone(ctx, link.Question{Verb: subjects.Query, Body: req, Reply: &reply, Patience: wait + c.link.Timeout/2})
	return &reply, err
}

// QueryRecords is Query that reads the records itself, for where no runner is
// online: nobody finds out then that a runner is gone.
func (c *Client) QueryRecords(ctx context.Context, q *pb.Query) (*pb.QueryReply, error) {
	s, err := c.link.Records(ctx)
	if err != nil {
		return nil, err
	}
	return s.Query(ctx, q)
}

// Status is a run as it is now.
func (c *Client) Status(ctx context.Context, id string) (*pb.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, c.link.Timeout)
	defer cancel()
	s, err := c.link.Records(ctx)
	if err != nil {
		return nil, err
	}
	ctx, done := c.link.Deniable(ctx, link.ReadingRecords)
	defer done()
	run, _, err := s.Get(ctx, id)
	return run, link.OrDenied(ctx, err)
}

// Wait returns the run's record when it is in one of these states, final ones
// if none is named, or in a final state from which it can't get there. It waits
// for as long as ctx does, also for a server or for runners to come back. Of work
// of the queue it is the last attempt's.
func (c *Client) Wait(ctx context.Context, id string, states ...pb.State) (*pb.Run, error) {
	if len(states) == 0 {
		states = finalStates()
	}
	for {
		run, err := c.waitRun(ctx, id, states)
		if err == nil && (run.GetQueued() == nil || run.GetAttempt() > 1 && run.GetId() == id) {
			return run, nil
		}
		if err != nil && !errors.Is(err, ErrUnknownRun) {
			return nil, err
		}
		whole, wholeErr := c.Whole(ctx, id)
		switch {
		case errors.Is(wholeErr, ErrUnknownRun) && err != nil:
			return nil, err
		case wholeErr != nil:
			return nil, wholeErr
		case slices.Contains(states, whole.GetState()), store.Final(whole.GetState()):
			return whole, nil
		case IsWaiting(whole):
			err = c.appears(ctx, whole.GetId())
		default:
			whole, err = c.waitRun(ctx, whole.GetId(), states)
			if err == nil && (!store.Final(whole.GetState()) || whole.GetNext() == "") {
				return whole, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// WaitAttempt is Wait for one attempt alone, where work of the queue has several.
func (c *Client) WaitAttempt(ctx context.Context, id string) (*pb.Run, error) {
	return c.waitRun(ctx, id, finalStates())
}

// WaitBegun waits until a run has a record, such as the attempt that another one
// names as its next.
func (c *Client) WaitBegun(ctx context.Context, id string) (*pb.Run, error) {
	if err := c.appears(ctx, id); err != nil {
		return nil, err
	}
	return c.Status(ctx, id)
}

// appears waits until a run has a record. It asks now and then: a watch takes the
// right to end it, which not everybody has.
func (c *Client) appears(ctx context.Context, id string) error {
	for wait := appearPause; ; wait = min(wait*3/2, busyPause*4) {
		_, err := c.Status(ctx, id)
		if err == nil || !errors.Is(err, ErrUnknownRun) && !mayPass(err) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// appearPause is the first wait for a record.
const appearPause = 25 * time.Millisecond

// waitRun is Wait for one run.
func (c *Client) waitRun(ctx context.Context, id string, states []pb.State) (*pb.Run, error) {
	q := &pb.Query{Runs: []string{id}, States: states, Wait: askAgain.String()}
	for {
		reply, err := c.Query(ctx, q)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && !mayPass(err):
			return nil, err
		case errors.Is(err, ErrNoRunners):
			// The record can be read without them; and who has none is not waited for.
			run, err := c.Status(ctx, id)
			if errors.Is(err, ErrUnknownRun) || err == nil && store.Final(run.GetState()) {
				return run, err
			}
			if err := pause(ctx, busyPause); err != nil {
				return nil, err
			}
		case err != nil:
			if err := pause(ctx, busyPause); err != nil {
				return nil, err
			}
		case len(reply.GetRuns()) > 0:
			return reply.GetRuns()[0], nil
		}
	}
}

const (
	busyCode  = 429
	busyPause = 250 * time.Millisecond
	// askAgain is how long Wait lets one request wait: a request or a reply that
	// was lost with a server is missed no longer than that.
	askAgain = 10 * time.Second
)

// mayPass says whether asking again later may help.
func mayPass(err error) bool {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Code == busyCode || remote.Code >= 500
	}
	return !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrPermissionViolation)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func finalStates() []pb.State {
	var final []pb.State
	for n := range pb.State_name {
		if s := pb.State(n); store.Final(s) {
			final = append(final, s)
		}
	}
	return final
}

// Abort ends a run: it returns the final record or, when that takes longer than
// wait, the record with Aborting set. A run that has ended stays as it was. Work
// that waits in the queue is removed from it.
func (c *Client) Abort(ctx context.Context, id string, wait time.Duration) (*pb.Run, error) {
	var reply pb.AbortReply
	req := &pb.AbortRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Spec: &pb.AbortSpec{Abort: &pb.Abort{Run: id, Wait: wait.String()}}}
	if wait <= 0 {
		req.Spec.Abort.Wait = "1ns"
	}
	err := c.link.Anyone(ctx, link.Question{Verb: subjects.Abort, Body: req, Reply: &reply, Patience: wait + c.link.Timeout/2})
	if errors.Is(err, ErrNoRunners) {
		if run, ok := c.abortWaiting(ctx, id); ok {
			return run, nil
		}
	}
	return reply.GetRun(), err
}
