package sandbox

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// pump moves a run's output in the one goroutine that calls Process.Pump.
type pump struct {
	*Process
	out    func(stream int, data []byte) error
	outErr error
	buf    []byte
	silence
}

// Pump moves the output until the run is over: it calls out with what was read (stream 0 is standard output, 1 standard error; data is valid until out returns), and
// quiet 200 ms after something was read, with whether nothing was since; it returns whether to call it again soon. Both are called from the goroutine that calls Pump, and while out does not return, the task waits when it has
// filled its pipe. When the main process has ended, what is left of the run is killed and its pipes are drained before Pump returns.
//
// An error from out ends the run and is returned with the status; what comes after it is read and thrown away. Either function may be nil.
func (p *Process) Pump(out func(stream int, data []byte) error, quiet func(idle bool) bool) (Status, error) {
	if p.host.portable {
		return p.pumpPortable(out, quiet)
	}
	m := &pump{Process: p, out: out, buf: make([]byte, minBuffer)}
	meter := p.startMeter()
	err := m.untilEnded(quiet)
	meter.stop()
	if errors.Is(err, errStuck) {
		m.drain()
		return m.leaveBehind(), m.outErr
	}
	if err != nil { // the kernel can't watch any more; never seen
		p.Kill()
	}
	p.end()
	m.drain()
	if p.tree.leaf == "" && m.open() {
		p.endHolders()
		m.drain()
	}
	status, reapErr := p.reap()
	meter.into(&status)
	for _, err := range []error{m.outErr, err, reapErr} {
		if err != nil {
			return status, err
		}
	}
	return status, nil
}

// untilEnded moves output until the main process has ended.
func (m *pump) untilEnded(quiet func(idle bool) bool) error {
	watch := m.tree.watch
	for {
		patience := time.Duration(0) // for ever
		if !m.due.IsZero() && quiet != nil {
			patience = max(time.Until(m.due), time.Microsecond)
		}
		events, err := watch.wait(patience)
		if err != nil {
			return fmt.Errorf("cannot watch run %s: %w", m.id, err)
		}
		ended := false
		for _, event := range events {
			switch event.Fd {
			case eventEnded:
				ended = true
			case eventTold:
				if ended = m.tree.first.hear() || ended; !ended { // it was killed before it could tell: its own end comes
					watch.remove(m.tree.first.result)
				}
			default:
				m.move(int(event.Fd))
			}
		}
		if ended {
			return nil
		}
		if len(events) == 0 && watch.isWoken() {
			return errStuck
		}
		if m.tell(quiet) {
			m.shrink()
		}
	}
}

// move moves what one read of a pipe gives, and says whether there may be more.
func (m *pump) move(stream int) bool {
	fd := m.pipes[stream]
	if fd < 0 {
		return false
	}
	n, err := unix.Read(fd, m.buf)
	switch {
	case err == unix.EINTR:
		return true
	case err == unix.EAGAIN:
		return false
	case n <= 0:
		m.tree.watch.remove(fd)
		unix.Close(fd)
		m.pipes[stream] = -1
		return false
	}
	m.heard()
	if m.out != nil && m.outErr == nil {
		if m.outErr = m.out(stream, m.buf[:n]); m.outErr != nil {
			m.Kill()
		}
	}
	m.grow(stream, n)
	return true
}

// grow follows a flood: a bigger buffer when one was filled, a bigger pipe when a whole one was read at once. A quiet run keeps the small ones.
func (m *pump) grow(stream, n int) {
	if n < len(m.buf) || n >= maxBuffer {
		return
	}
	if n >= pipeBytes/2 && n < pipeBytes {
		_, _ = unix.FcntlInt(uintptr(m.pipes[stream]), unix.F_SETPIPE_SZ, floodPipeBytes) // refused when the user has too many big ones: then it stays
	}
	m.buf = make([]byte, min(2*len(m.buf), maxBuffer))
}

func (m *pump) shrink() {
	if len(m.buf) > minBuffer {
		m.buf = make([]byte, minBuffer)
	}
}

func (m *pump) open() bool { return m.pipes[0] >= 0 || m.pipes[1] >= 0 }

// drain reads what is in the pipes.
func (m *pump) drain() {
	for more := true; more; {
		more = m.move(0)
		more = m.move(1) || more
	}
}
