package sandbox

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func (p *Process) signalTree(sig unix.Signal) {
	var err error
	switch {
	case p.host.portable:
		err = unix.Kill(-p.pid, sig)
	case p.tree.leaf != "":
		signalCgroup(p.tree.leaf, sig)
	default:
		err = signalFound(p.members, sig)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		p.host.log.Warn("cannot signal a run's processes", "run", p.id, "error", err)
	}
}

func (p *Process) killTree() {
	var err error
	switch {
	case p.host.portable:
		err = unix.Kill(-p.pid, unix.SIGKILL)
	case p.tree.leaf != "":
		err = killCgroup(p.tree.leaf)
	case p.holdsNamespace():
		err = unix.PidfdSendSignal(p.tree.pidfd, unix.SIGKILL, nil, 0)
	default:
		err = killFound(p.members, stuckAfter)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
		p.host.log.Warn("cannot kill a run's processes", "run", p.id, "error", err)
	}
}

// holdsNamespace says that the run's number is that of the first process of its PID namespace: nothing in there outlives it.
func (p *Process) holdsNamespace() bool { return p.tree.first != nil }

// end kills what the main process left behind and waits until it is gone. A leaf that is empty already, as most are, stays so, and is removed beside what follows.
func (p *Process) end() {
	if brokenKeptChild {
		return
	}
	if p.tree.leaf != "" && len(p.host.cgroups.controllers) > 0 {
		p.tree.usage = readUsage(p.tree.leaf)
	}
	var err error
	switch leaf := p.tree.leaf; {
	case leaf == "" && p.holdsNamespace():
	case leaf == "":
		err = killFound(p.members, stuckAfter)
	case emptyCgroup(leaf):
		p.host.removeBeside(p.id, leaf)
	default:
		err = endCgroup(leaf, stuckAfter)
	}
	if err != nil {
		p.host.log.Warn("processes of a run are left behind", "run", p.id, "error", err)
	}
}

// emptyLeaf is a leaf that is to be removed.
type emptyLeaf struct {
	id, path string
	gone     chan struct{} // closed when it is
}

// removeBeside removes an empty leaf in the background. The next run of that id waits for it. One goroutine removes all: the kernel removes one at a time anyway, and each that waits in a
// system call would take a thread, which the Go runtime keeps for good.
func (h *Host) removeBeside(id, path string) {
	leaf := emptyLeaf{id, path, make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaving[id] = leaf.gone
	h.empties = append(h.empties, leaf)
	if len(h.empties) == 1 {
		h.removals.Go(h.removeEmpties)
	}
}

func (h *Host) removeEmpties() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.empties) > 0 {
		leaf := h.empties[0]
		h.mu.Unlock()
		h.removeLeaf(leaf.id, leaf.path)
		h.mu.Lock()
		h.empties = h.empties[1:]
		delete(h.leaving, leaf.id)
		close(leaf.gone)
	}
}

func (h *Host) removeLeaf(id, leaf string) {
	if err := endCgroup(leaf, gone); err != nil {
		h.log.Warn("processes of a run are left behind", "run", id, "error", err)
	}
}

// endHolders kills those that the scan could not know but by the pipes they hold.
func (p *Process) endHolders() {
	links := p.pipeLinks()
	err := killFound(func() ([]proc, error) { return p.found(links) }, stuckAfter)
	if err != nil {
		p.host.log.Warn("processes that hold a run's pipes are left behind", "run", p.id, "error", err)
	}
}

// reap takes the main process's status and gives everything back. It is the last thing done to a run.
func (p *Process) reap() (Status, error) {
	p.retire()
	status, err := p.wait()
	p.tree.usage.into(&status)
	p.tree.leaf = "" // gone since end
	p.undoStart()
	p.host.giveBack(p.who)
	return status, err
}

// wait takes the status of the main process, which has ended or was killed. A namespace's first process that has told it is not waited for.
func (p *Process) wait() (Status, error) {
	first := p.tree.first
	if first != nil && first.told {
		p.reapBeside()
		return first.status(), nil
	}
	status, err := p.waitPID()
	if err != nil || first == nil {
		return status, err
	}
	if !first.hear() {
		return Status{ExitCode: -1, Signal: unix.SIGKILL}, nil
	}
	return first.status(), nil
}

// reapBeside reaps a first process in the background.
func (p *Process) reapBeside() {
	_ = unix.PidfdSendSignal(p.tree.pidfd, unix.SIGKILL, nil, 0) // it is ending
	h, pid, pidfd := p.host, p.pid, p.tree.pidfd
	p.tree.pidfd = -1
	h.removals.Go(func() {
		waitPidfd(pidfd, gone)
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	})
}

// waitPID reaps this process's child.
func (p *Process) waitPID() (Status, error) {
	var ws unix.WaitStatus
	var usage unix.Rusage
	pause := 100 * time.Microsecond
	for deadline := time.Now().Add(gone); ; {
		pid, err := unix.Wait4(p.pid, &ws, unix.WNOHANG, &usage)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil: // somebody in this program reaps children that are not theirs, or SIGCHLD is ignored
			return Status{ExitCode: -1}, fmt.Errorf("cannot tell how run %s ended: %w", p.id, err)
		case pid == p.pid:
			return statusOf(ws, usage), nil
		case time.Now().After(deadline):
			return Status{ExitCode: -1}, fmt.Errorf("cannot tell how run %s ended: process %d was killed and does not end", p.id, p.pid)
		}
		time.Sleep(pause)
		pause = min(pause*2, 10*time.Millisecond)
	}
}
