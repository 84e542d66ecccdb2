package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ServerClock tells the NATS server's time. It asks now and then and counts on
// from the answer, so it holds whatever this host's clock says: two hosts that
// are hours apart agree on what is late.
type ServerClock struct {
	// Ask returns the server's time of some moment during the call.
	Ask func(context.Context) (time.Time, error)

	mu       sync.Mutex
	server   time.Time // between sent and received
	sent     time.Time
	received time.Time
	failed   time.Time // when Ask last did
}

const (
	// maxClockAge is how long one answer is good for: a clock that is off by 100
	// millionths has gone wrong by 60 ms then.
	maxClockAge = 10 * time.Minute
	// clockTimeout bounds a question: nobody is kept waiting for the time.
	clockTimeout = time.Second
	// clockPause is how long a server that gave no answer is not asked again.
	clockPause = time.Minute
	// maxClockStep is how far this host's clock may be moved, or stand still while
	// the host sleeps, before the answer counts for nothing.
	maxClockStep = 250 * time.Millisecond
)

var errNoTime = errors.New("the NATS server's time is not known")

// Bounds returns the earliest and the latest that the server's time can be now.
func (c *ServerClock) Bounds(ctx context.Context) (earliest, latest time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.holds(now) {
		if !c.failed.IsZero() && now.Sub(c.failed) < clockPause {
			return earliest, latest, errNoTime
		}
		if err := c.ask(ctx); err != nil {
			return earliest, latest, err
		}
		now = time.Now()
	}
	return c.server.Add(now.Sub(c.received)), c.server.Add(now.Sub(c.sent)), nil
}

// holds says whether the last answer can still be counted on from: it is not old,
// and this host's clock has gone as fast as time.
func (c *ServerClock) holds(now time.Time) bool {
	if c.received.IsZero() {
		return false
	}
	return isSteady(now.Sub(c.received), now.Round(0).Sub(c.received.Round(0)))
}

// isSteady compares the time since an answer by the monotonic clock and by the
// host's.
func isSteady(monotonic, wall time.Duration) bool {
	return monotonic < maxClockAge && (wall-monotonic).Abs() < maxClockStep
}

func (c *ServerClock) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	sent := time.Now()
	server, err := c.Ask(ctx)
	if err != nil {
		c.failed = time.Now()
		return err
	}
	c.server, c.sent, c.received, c.failed = server, sent, time.Now(), time.Time{}
	return nil
}
