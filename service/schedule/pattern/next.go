package pattern

import (
	"math/bits"
	"time"
)

// star is the bit by which the parser marks a field that was "*".
const star = 1 << 63

// Next is the first tick after t, or the zero time if there is none. For an
// interval it counts from t.
func (p Pattern) Next(t time.Time) time.Time {
	switch {
	case p.Once():
		if t.Before(p.at) {
			return p.at
		}
		return time.Time{}
	case p.every > 0:
		return t.UTC().Round(time.Second).Add(p.every)
	case p.spec == nil:
		return time.Time{}
	}
	now := t.In(p.loc).Truncate(time.Second).Add(time.Second)
	for limit := now.Year() + horizon; now.Year() <= limit; {
		step := p.miss(now)
		if step == 0 {
			return now.UTC()
		}
		next := now.Add(step)
		// Where the offset changes, the wall clock jumps: look again from there.
		if end := zoneEnd(now); !end.IsZero() && next.After(end) {
			next = end
		}
		now = next
	}
	return time.Time{}
}

// miss is how long the wall clock does not match from t on, at the least; 0 if
// t matches.
func (p Pattern) miss(t time.Time) time.Duration {
	s := p.spec
	hour, minute, second := t.Clock()
	toMidnight := 24*time.Hour - time.Duration(hour)*time.Hour - time.Duration(minute)*time.Minute - time.Duration(second)*time.Second
	switch {
	case !has(s.Month, int(t.Month())), !p.day(t):
		return toMidnight
	case !has(s.Hour, hour):
		return time.Hour - time.Duration(minute)*time.Minute - time.Duration(second)*time.Second
	case !has(s.Minute, minute):
		return time.Minute - time.Duration(second)*time.Second
	case !has(s.Second, second):
		later := (s.Second &^ star) >> (second + 1)
		if later == 0 {
			return time.Duration(60-second) * time.Second
		}
		return time.Duration(bits.TrailingZeros64(later)+1) * time.Second
	}
	return 0
}

func has(field uint64, value int) bool { return field&(1<<value) != 0 }

// day follows cron's rule: if both the day and the weekday are given, one of
// them is enough.
func (p Pattern) day(t time.Time) bool {
	day, weekday := has(p.spec.Dom, t.Day()), has(p.spec.Dow, int(t.Weekday()))
	if p.spec.Dom&star != 0 || p.spec.Dow&star != 0 {
		return day && weekday
	}
	return day || weekday
}

// Prev is the last tick before t, or the zero time if there is none within the
// horizon. A fire says when the next one is due, and not when it was due itself:
// Prev of that is its tick.
func (p Pattern) Prev(t time.Time) time.Time {
	switch {
	case p.Once():
		if t.After(p.at) {
			return p.at
		}
		return time.Time{}
	case p.every > 0:
		return t.UTC().Round(time.Second).Add(-p.every)
	case p.spec == nil:
		return time.Time{}
	}
	for _, back := range []time.Duration{time.Minute, time.Hour, 26 * time.Hour, 32 * 24 * time.Hour, 367 * 24 * time.Hour, horizon * 366 * 24 * time.Hour} {
		var last time.Time
		for at := p.Next(t.Add(-back - time.Second)); !at.IsZero() && at.Before(t); at = p.Next(at) {
			last = at
		}
		if !last.IsZero() {
			return last
		}
	}
	return time.Time{}
}

// Due is a tick that follows the rules for daylight saving.
type Due struct {
	At time.Time
	// MadeUp: the wall clock skipped the tick, which is due when the clock has
	// moved.
	MadeUp bool
}

// Between yields the ticks with from < At <= to in their order: repeated ones
// are left out, skipped ones are made up for.
func (p Pattern) Between(from, to time.Time) func(yield func(Due) bool) {
	return func(yield func(Due) bool) {
		tick, gap := p.Next(from), p.NextGap(from)
		for {
			due := Due{At: tick}
			switch {
			case !gap.IsZero() && (tick.IsZero() || !gap.After(tick)):
				due = Due{At: gap, MadeUp: !gap.Equal(tick)}
				if gap.Equal(tick) {
					tick = p.Next(tick)
				}
				gap = p.NextGap(gap)
			case tick.IsZero():
				return
			default:
				tick = p.Next(tick)
			}
			if due.At.After(to) {
				return
			}
			if p.Repeated(due.At) {
				continue
			}
			if !yield(due) {
				return
			}
		}
	}
}
