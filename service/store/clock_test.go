package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The host's clock may be hours away from the server's: the server's counts on.
func TestServerClockCountsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := 5 * time.Hour
		asked := 0
		c := &ServerClock{Ask: func(context.Context) (time.Time, error) {
			asked++
			time.Sleep(20 * time.Millisecond) // there
			now := time.Now().Add(away)
			time.Sleep(30 * time.Millisecond) // and back
			return now, nil
		}}
		for i := range 3 {
			earliest, latest, err := c.Bounds(t.Context())
			truth := time.Now().Add(away)
			if err != nil || truth.Before(earliest) || truth.After(latest) || latest.Sub(earliest) != 50*time.Millisecond {
				t.Fatalf("%d: %v to %v, %v; it is %v", i, earliest, latest, err, truth)
			}
			time.Sleep(3 * time.Minute)
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		time.Sleep(maxClockAge)
		if _, _, err := c.Bounds(t.Context()); err != nil || asked != 2 {
			t.Errorf("an old answer: asked %d times, %v", asked, err)
		}
	})
}

// A server that gives no time is left alone for a while, and nobody waits long.
func TestServerClockWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := &ServerClock{Ask: func(ctx context.Context) (time.Time, error) {
			asked++
			<-ctx.Done()
			return time.Time{}, context.Cause(ctx)
		}}
		began := time.Now()
		for range 3 {
			if _, _, err := c.Bounds(t.Context()); err == nil {
				t.Fatal("a time from nowhere")
			}
		}
		if asked != 1 || time.Since(began) > clockTimeout {
			t.Errorf("asked %d times in %s", asked, time.Since(began))
		}
		time.Sleep(clockPause)
		if _, _, err := c.Bounds(t.Context()); !errors.Is(err, context.DeadlineExceeded) || asked != 2 {
			t.Errorf("later: asked %d times, %v", asked, err)
		}
	})
}

// After a sleep of the host, or when its clock was set, an answer counts for nothing.
func TestServerClockAfterAStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		monotonic, wall time.Duration
		want            bool
	}{
		{time.Minute, time.Minute, true},
		{time.Minute, time.Minute + 100*time.Millisecond, true},
		{time.Minute, time.Hour, false},
		{time.Minute, -time.Hour, false},
		{maxClockAge, maxClockAge, false},
	} {
		if got := isSteady(c.monotonic, c.wall); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
