package sandbox

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// errStuck: the main process was killed and does not end.
var errStuck = errors.New("it hangs in the kernel")

// What is still at work on its end is looked at again this often, and no longer than that.
const (
	stuckLook = stuckAfter / 4
	mostStuck = 60 * stuckAfter
)

// giveUp ends Pump's wait for the main process, unless that is still at work on its end: to free
// gigabytes can take a busy machine seconds, while what hangs does not run.
func (p *Process) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.work.Go(func() {
		if p.isEnding() && p.lookAgain() {
			return
		}
		if p.tree.watch != nil {
			p.tree.watch.wake()
		}
	})
}

// lookAgain says whether giveUp is called once more.
func (p *Process) lookAgain() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || time.Since(p.killed) > mostStuck {
		return false
	}
	p.stuck.Reset(stuckLook)
	return true
}

// isEnding says that the main process runs, or waits for a processor, or that one does for which the
// first of a PID namespace waits.
func (p *Process) isEnding() bool {
	pids := []int{p.pid}
	if p.holdsNamespace() {
		for _, one := range p.descendants() {
			pids = append(pids, one.pid)
		}
	}
	return slices.ContainsFunc(pids, hasRunningThread)
}

func hasRunningThread(pid int) bool {
	threads, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task") // gone: it does not run
	return slices.ContainsFunc(threads, func(thread os.DirEntry) bool {
		tid, err := strconv.Atoi(thread.Name())
		one, ok := readProc(tid)
		return err == nil && ok && one.state == 'R'
	})
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
