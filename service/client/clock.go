package client

import (
	"context"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
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

// dangerousMillis is the contract's bound. (pipego)
const dangerousMillis = 5000

// Dangerous: more than 5 s either way.
func (c Clock) Dangerous() bool { return c.Offset > dangerousMillis || c.Offset < -dangerousMillis }

// Clock compares one host's clock. A query without a time and without NTP
// compares with this host's clock; then the request's own travel time is taken
// off: the host's time belongs to the middle of the journey, give or take half
// of it.
func (c *Client) Clock(ctx context.Context, t Target, q *pb.ClockQuery) (*pb.MaintReply, Clock, error) {
	q, own := withBase(q)
	sent := time.Now()
	reply, err := c.Maint(ctx, t, &pb.Maint{Clock: q})
	clock := clockOf(reply, sent, time.Since(sent), own)
	clock.Err = err
	return reply, clock, err
}

// ClockAll compares the clocks of every host that is meant.
func (c *Client) ClockAll(ctx context.Context, t Target, q *pb.ClockQuery, opts FanOptions) (*FanResult[*pb.MaintReply], []Clock, error) {
	q, own := withBase(q)
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

const (
	// fineMillis is a comparison that is good enough.
	fineMillis = 2
	// refiners ask at once: more would wait for one another, which is what made the
	// comparison coarse.
	refiners    = 4
	refineTries = 3
	refineTime  = 3 * time.Second
)

// refine asks those once more, a few at a time, whose answers were long on their
// way: a thousand that come at once wait for one another.
func (c *Client) refine(ctx context.Context, clocks []Clock) {
	ctx, cancel := context.WithTimeout(ctx, refineTime)
	defer cancel()
	var wg sync.WaitGroup
	gate := make(chan struct{}, refiners)
	for i := range clocks {
		if clocks[i].Err != nil || clocks[i].Uncertainty <= fineMillis {
			continue
		}
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			for range refineTries {
				_, again, err := c.Clock(ctx, Target{On: clocks[i].Runner}, &pb.ClockQuery{})
				if err != nil {
					return // what is known is true
				}
				if again.Uncertainty < clocks[i].Uncertainty {
					again.Runner = clocks[i].Runner
					clocks[i] = again
				}
				if clocks[i].Uncertainty <= fineMillis {
					return
				}
			}
		})
	}
	wg.Wait()
}

// withBase fills in this host's time where the query has none; own says so.
func withBase(q *pb.ClockQuery) (_ *pb.ClockQuery, own bool) {
	if q.GetTime() != 0 || q.GetTimeNanos() != 0 || q.GetNtp() {
		return q, false
	}
	q = proto.CloneOf(q)
	q.TimeNanos = time.Now().UnixNano()
	return q, true
}

func clockOf(reply *pb.MaintReply, sent time.Time, travel time.Duration, own bool) Clock {
	k := reply.GetClock()
	c := Clock{Runner: reply.GetRunner(), Reply: reply, Offset: k.GetOffset(), Uncertainty: k.GetUncertainty()}
	if own && k.GetLocalNanos() != 0 {
		middle := sent.Add(travel / 2)
		c.Offset = float64(middle.UnixNano()-k.GetLocalNanos()) / float64(time.Millisecond)
		c.Uncertainty = float64(travel/2) / float64(time.Millisecond)
		// What the runner could not know.
		k.Offset, k.Uncertainty = c.Offset, c.Uncertainty
		if diff := k.GetDiff(); diff != nil {
			diff.Time = int64(math.Round(c.Offset))
			diff.Dangerous = c.Dangerous()
		}
	}
	return c
}
