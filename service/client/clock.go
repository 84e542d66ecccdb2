package client

import (
	"context"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/offset"
)

// Clock is one host's clock against a base. Milliseconds are positive when the
// host is behind.
type Clock struct {
	Runner string
	// Offset of the base from the host's clock, and how far off that may be.
	Offset, Uncertainty float64
	Reply               *pb.MaintReply
	Err                 error
}

// Dangerous: more than 5 s either way.
func (c Clock) Dangerous() bool { return offset.Dangerous(c.Offset) }

// Clock compares one host's clock. A query without a time and without NTP
// compares with this host's clock; then the request's own travel time is taken
// off: the host's time belongs to the middle of the journey, give or take half
// of it.
func (c *Client) Clock(ctx context.Context, t Target, q *pb.ClockQuery) (*pb.MaintReply, Clock, error) {
	q, own := offset.WithBase(q)
	sent := time.Now()
	reply, err := c.Maint(ctx, t, &pb.Maint{Clock: q})
	clock := clockOf(reply, sent, time.Since(sent), own)
	clock.Err = err
	return reply, clock, err
}

// ClockAll compares the clocks of every host that is meant.
func (c *Client) ClockAll(ctx context.Context, t Target, q *pb.ClockQuery, opts FanOptions) (*FanResult[*pb.MaintReply], []Clock, error) {
	q, own := offset.WithBase(q)
	result, err := c.MaintAll(ctx, t, &pb.Maint{Clock: q}, opts)
	if err != nil {
		return nil, nil, err
	}
	var clocks []Clock
	for name, answer := range result.Answers {
		if answer.Message.GetClock() == nil {
			continue
		}
		clock := clockOf(answer.Message, answer.Asked, answer.Elapsed, own)
		clock.Runner, clock.Err = name, answer.Err
		clocks = append(clocks, clock)
	}
	if own && !q.GetSync() {
		c.refine(ctx, clocks)
		for _, clock := range clocks {
			answer := result.Answers[clock.Runner]
			answer.Message = clock.Reply
			result.Answers[clock.Runner] = answer
		}
	}
	return result, clocks, nil
}

// refine asks those once more whose answers were long on their way.
func (c *Client) refine(ctx context.Context, clocks []Clock) {
	offset.Refine(ctx, len(clocks), func(i int) bool { return clocks[i].Err == nil && !offset.Fine(clocks[i].Uncertainty) }, func(ctx context.Context, i int) bool {
		_, again, err := c.Clock(ctx, Target{On: clocks[i].Runner}, &pb.ClockQuery{})
		if err != nil {
			return true // what is known is true
		}
		if again.Uncertainty < clocks[i].Uncertainty {
			again.Runner = clocks[i].Runner
			clocks[i] = again
		}
		return offset.Fine(clocks[i].Uncertainty)
	})
}

func clockOf(reply *pb.MaintReply, sent time.Time, travel time.Duration, own bool) Clock {
	k := reply.GetClock()
	if own {
		offset.Correct(k, sent, travel)
	}
	return Clock{Runner: reply.GetRunner(), Reply: reply, Offset: k.GetOffset(), Uncertainty: k.GetUncertainty()}
}
