//go:build unix

package sandbox

import "time"

// quietAfter is how long after something was read quiet is called.
const quietAfter = 200 * time.Millisecond

// silence says when quiet is to be called.
type silence struct {
	read time.Time // when something was last
	due  time.Time // when quiet is to be called; zero: not before something is read
}

// heard is told of everything that is read.
func (s *silence) heard() {
	s.read = time.Now()
	if s.due.IsZero() {
		s.due = s.read.Add(quietAfter)
	}
}

// tell calls quiet if it is time, and says whether nothing has come for long.
func (s *silence) tell(quiet func(idle bool) bool) (idle bool) {
	now := time.Now()
	if quiet == nil || s.due.IsZero() || now.Before(s.due) {
		return false
	}
	idle = now.Sub(s.read) >= quietAfter
	switch again := quiet(idle); {
	case again:
		s.due = now.Add(quietAfter / 4)
	case idle:
		s.due = time.Time{}
	default:
		s.due = s.read.Add(quietAfter)
	}
	return idle
}

// Sizes in bytes. A buffer of the biggest size from the start would triple what a short run takes at the 99th percentile.
const (
	minBuffer      = 4 << 10
	maxBuffer      = 256 << 10
	pipeBytes      = 64 << 10 // Linux's default
	floodPipeBytes = 1 << 20
)
