package maint

import (
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A model stands in for the kernel's clock where the real one must not be
// touched. What the real one does with the same calls is seen in the VM.
type model struct {
	mu    sync.Mutex
	shift time.Duration // clock − the machine's real clock
	left  time.Duration
	steps []time.Duration
	slews []time.Duration
	state unix.Timex
	deny  error
}

// keeper returns a Keeper whose clock is a model, so that no test of this
// package can set the machine's.
func keeper(t *testing.T, cfg Config) (*Keeper, *model) {
	t.Helper()
	m := &model{state: unix.Timex{Status: unix.STA_UNSYNC, Maxerror: 16e6}}
	k := New(cfg)
	k.kernel.adjtimex = m.adjtimex
	k.now = m.now
	return k, m
}

func (m *model) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.shift)
}

func (m *model) adjtimex(t *unix.Timex) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deny != nil && t.Modes != 0 && t.Modes != unix.ADJ_OFFSET_SS_READ {
		return 0, m.deny
	}
	switch modes := t.Modes; modes {
	case unix.ADJ_SETOFFSET:
		by := time.Duration(t.Time.Sec)*time.Second + time.Duration(t.Time.Usec)*time.Microsecond
		m.steps = append(m.steps, by)
		m.shift += by
		m.left = 0
		m.state.Status |= unix.STA_UNSYNC
	case unix.ADJ_OFFSET_SINGLESHOT:
		m.left = time.Duration(t.Offset) * time.Microsecond
		m.slews = append(m.slews, m.left)
	case unix.ADJ_OFFSET_SS_READ:
		t.Offset = m.left.Microseconds()
	case unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR:
		m.state.Status, m.state.Maxerror, m.state.Esterror = t.Status, t.Maxerror, t.Esterror
	case 0:
		*t = m.state
	default:
		return 0, unix.EINVAL
	}
	if m.state.Status&unix.STA_UNSYNC != 0 {
		return unix.TIME_ERROR, nil
	}
	return unix.TIME_OK, nil
}

// untouched fails if the clock was set.
func (m *model) untouched(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := slices.Concat(m.steps, m.slews); len(all) > 0 {
		t.Errorf("the clock was set by %v, want it left alone", all)
	}
}
