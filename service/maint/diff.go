package maint

import (
	"math"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// dangerousMillis is the difference above which work on this host can't be
// trusted to carry the right time. (pipego)
const dangerousMillis = 5000

// base is a time to compare with: either exact or a whole second.
type base struct {
	seconds int64
	nanos   int64
	exact   bool
}

// baseOf reads the caller's base time.
func baseOf(query *pb.ClockQuery) (base, error) {
	exact := query.GetTimeNanos()
	switch {
	case exact < 0 || query.GetTime() < 0:
		return base{}, ErrInvalidTime
	case exact > 0:
		return base{seconds: exact / 1e9, nanos: exact % 1e9, exact: true}, nil
	case query.GetTime() > 0:
		return base{seconds: query.GetTime()}, nil
	}
	return base{}, ErrInvalidTime
}

// millisFrom says how far local is behind b, in milliseconds. A base far out of
// any clock's range saturates instead of wrapping round.
func (b base) millisFrom(local time.Time) (whole int64, exact float64) {
	seconds, nanos := saturatingSub(b.seconds, local.Unix()), b.nanos-int64(local.Nanosecond())
	if !b.exact {
		if seconds == 0 {
			return 0, 0
		}
		if seconds < 0 {
			seconds++ // the nearer edge of the second is its end
		}
	}
	const limit = math.MaxInt64/1000 - 2
	switch {
	case seconds > limit:
		return math.MaxInt64, math.MaxInt64
	case seconds < -limit:
		return math.MinInt64, math.MinInt64
	}
	exact = float64(seconds)*1e3 + float64(nanos)/1e6
	return seconds*1000 + inMillis(nanos), exact
}

// diffOf is the reply's form of a difference.
func diffOf(millis int64) *pb.ClockDiff {
	return &pb.ClockDiff{Time: millis, Dangerous: millis > dangerousMillis || millis < -dangerousMillis}
}

// unknownDiff is the reply when there is nothing to compare with: a clock about
// which nothing is known is not to be relied on. (pipego)
func unknownDiff() *pb.ClockDiff { return &pb.ClockDiff{Dangerous: true} }

func saturatingSub(a, b int64) int64 {
	switch d := a - b; {
	case a >= 0 && b < 0 && d < 0:
		return math.MaxInt64
	case a < 0 && b > 0 && d > 0:
		return math.MinInt64
	default:
		return d
	}
}

// inMillis rounds nanoseconds to the nearest millisecond.
func inMillis(nanos int64) int64 {
	whole, rest := nanos/1e6, nanos%1e6
	switch {
	case rest >= 5e5:
		whole++
	case rest <= -5e5:
		whole--
	}
	return whole
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
