package mounts

import (
	"context"
	"fmt"
	"sync"
)

// DefaultHelpers is how many processes may be at work on one mount at a time.
const DefaultHelpers = 4

// HangingError refuses work on a mount where as many processes hang as the
// Budget allows.
type HangingError struct{ Mount Mount }

func (e *HangingError) Error() string {
	return fmt.Sprintf("the mount %s does not answer: %d processes hang there", e.Mount, DefaultHelpers)
}

// Code of a HangingError on the wire: the host, not the request, is at fault.
func (e *HangingError) Code() int { return 503 }

// Budget bounds the processes at work on each mount that may hang, by the file
// system's device: two mounts of one dead server's export are one. One Budget
// serves a whole process. The zero value is ready.
type Budget struct {
	mu     sync.Mutex
	mounts map[string]*usage
}

// usage of one file system. It is there while somebody works or waits.
type usage struct {
	slots   int           // taken
	hanging int           // of them, those that were given up
	waiting int           // for one
	changed chan struct{} // closed at the next change
}

// Slot is the right to have one process at work on a mount. It must be left.
type Slot struct {
	budget  *Budget
	mount   Mount
	isGone  bool // given up
	isEnded bool
}

// Enter takes a slot on m. While all are taken by processes that may still
// answer, it waits until ctx ends; once all have been given up, it returns a
// *HangingError at once.
func (b *Budget) Enter(ctx context.Context, m Mount) (*Slot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mounts == nil {
		b.mounts = map[string]*usage{}
	}
	u := b.mounts[m.Device]
	if u == nil {
		u = &usage{changed: make(chan struct{})}
		b.mounts[m.Device] = u
	}
	u.waiting++
	defer func() {
		u.waiting--
		b.forget(m.Device, u)
	}()
	for u.slots >= DefaultHelpers {
		if u.hanging >= DefaultHelpers {
			return nil, &HangingError{m}
		}
		changed := u.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		b.mu.Lock()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the mount %s does not answer: %w", m, context.Cause(ctx))
		}
	}
	u.slots++
	return &Slot{budget: b, mount: m}, nil
}

// GiveUp says that nobody waits any more for the process in this slot, which has
// not ended: it hangs.
func (s *Slot) GiveUp() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if s.isGone || s.isEnded {
		return
	}
	s.isGone = true
	u := s.budget.mounts[s.mount.Device]
	u.hanging++
	u.tell()
}

// Leave says that the process has ended. More than one call is harmless.
func (s *Slot) Leave() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if s.isEnded {
		return
	}
	s.isEnded = true
	u := s.budget.mounts[s.mount.Device]
	u.slots--
	if s.isGone {
		u.hanging--
	}
	u.tell()
	s.budget.forget(s.mount.Device, u)
}

func (u *usage) tell() {
	close(u.changed)
	u.changed = make(chan struct{})
}

func (b *Budget) forget(device string, u *usage) {
	if u.slots == 0 && u.waiting == 0 && b.mounts[device] == u {
		delete(b.mounts, device)
	}
}
