package pattern

import "time"

// gapHorizon is how far NextGap looks ahead: every zone that changes its clock
// does so within a year, but for rules that a government has yet to make.
const gapHorizon = 2 * 366 * 24 * time.Hour

// Repeated reports whether t is the second time of a wall clock that is put
// back, for a pattern with a fixed hour. Its first fire has done the work.
func (p Pattern) Repeated(t time.Time) bool {
	if p.spec == nil || !p.fixed {
		return false
	}
	start, _ := t.In(p.loc).ZoneBounds()
	if start.IsZero() {
		return false
	}
	put := -shift(start)
	return put > 0 && t.Sub(start) < put
}

// shift is by how much the wall clock jumps at a zone's transition: 1h in spring
// in most zones, -1h in autumn.
func shift(transition time.Time) time.Duration {
	_, before := transition.Add(-time.Nanosecond).Zone()
	_, after := transition.Zone()
	return time.Duration(after-before) * time.Second
}

// zoneEnd is when t's offset changes, or may change: it is after t; the zero time if
// it never does. Go says of the last day of a leap year, in a zone that goes by a
// rule, that it has ended when it began.
func zoneEnd(t time.Time) time.Time {
	_, end := t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		const day = 24 * time.Hour
		return t.Truncate(day).Add(day) // in UTC, as those years are
	}
	return end
}

// NextGap is the first instant after t at which the wall clock of the pattern's
// zone jumps over a tick of a fixed hour; the zero time if none is known. At
// that instant the tick is due, once.
func (p Pattern) NextGap(t time.Time) time.Time {
	if p.spec == nil || !p.fixed {
		return time.Time{}
	}
	until := t.Add(gapHorizon)
	for now := t.In(p.loc); ; {
		end := zoneEnd(now)
		if end.IsZero() || end.After(until) {
			return time.Time{}
		}
		if p.swallowed(end) {
			return end.UTC()
		}
		now = end
	}
}

// swallowed reports whether a matching wall clock lies in the jump at end.
func (p Pattern) swallowed(end time.Time) bool {
	jump := shift(end)
	if jump <= 0 {
		return false
	}
	// The skipped wall clock exists in a zone without transitions.
	_, offset := end.Zone()
	plain := p
	plain.loc = time.UTC
	after := time.Unix(end.Unix()+int64(offset), 0).UTC()
	tick := plain.Next(after.Add(-jump - time.Second))
	return !tick.IsZero() && tick.Before(after)
}
