package sandbox

import (
	"errors"

	"golang.org/x/sys/unix"
)

// errStuck: the main process was killed and does not end.
var errStuck = errors.New("it hangs in the kernel")

// giveUp ends Pump's wait for the main process.
func (p *Process) giveUp() {
	if p.tree.watch != nil {
		p.tree.watch.wake()
	}
}

// leaveBehind gives back what a run has whose main process was killed and hangs. Its number, its account and its leaf are given back when the kernel lets it go; that may
// be never.
func (p *Process) leaveBehind() Status {
	h := p.host
	h.log.Warn("a run's process was killed and does not end: it hangs in the kernel", "run", p.id, "pid", p.pid)
	p.mu.Lock()
	p.ended = true
	if p.grace != nil {
		p.grace.Stop()
	}
	p.mu.Unlock()
	closeFDs(p.pipes[0], p.pipes[1])
	p.pipes = [2]int{-1, -1}
	p.tree.watch.close()
	p.tree.watch = nil
	pidfd, err := unix.FcntlInt(uintptr(p.tree.pidfd), unix.F_DUPFD_CLOEXEC, 0) // whoever signals it has the other
	if err != nil {
		return Status{ExitCode: -1, Signal: unix.SIGKILL}
	}
	h.leftBehind.add(pidfd, func() {
		p.work.Wait()
		_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
		p.undoStart()
		h.giveBack(p.who)
	})
	return Status{ExitCode: -1, Signal: unix.SIGKILL}
}
