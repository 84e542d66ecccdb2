//go:build !broken_arrival && !broken_uncounted

package schedule

// Each is true in a build that is broken on purpose: a fire stands for the time at
// which it is handled; ticks that nobody fired are not counted.
// tests/queue-must-fail shows that the chaos test finds them.
const (
	brokenArrival   = false
	brokenUncounted = false
)
