package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
)

// seat is what a process is started into.
type seat struct {
	process *Process // nil where there is no seat to take
	writers [2]int   // the task's ends of its pipes
	leafFD  int
}

// takeSeat makes the pipes, the watch and the leaf. What it opens on the way is closed again if any step fails.
func (r *Prepared) takeSeat() (err error) {
	h, cmd := r.host, r.cmd
	if h.portable {
		return nil
	}
	if err := h.claim(cmd.id); err != nil {
		return startErrorf("start", "%w", err)
	}
	p := &Process{host: h, id: cmd.id, mark: cmd.mark, who: cmd.who, limits: cmd.limits, pipes: [2]int{-1, -1}, tree: tree{pidfd: -1}}
	if cmd.order != nil && cmd.order.scratchBytes > 0 {
		p.scratch = cmd.order.dir
	}
	r.seat = seat{process: p, writers: [2]int{-1, -1}, leafFD: -1}
	defer func() {
		if err != nil {
			r.leaveSeat()
		}
	}()
	for i := range p.pipes {
		if i == 1 && cmd.merge {
			if r.seat.writers[1], err = unix.FcntlInt(uintptr(r.seat.writers[0]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				return explain(cmd, err)
			}
			break
		}
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return explain(cmd, err)
		}
		p.pipes[i], r.seat.writers[i] = ends[0], ends[1]
		if err := unix.SetNonblock(ends[0], true); err != nil {
			return explain(cmd, err)
		}
		if cmd.who.cred != nil { // so that the task can open /dev/stdout
			_ = unix.Fchown(ends[1], cmd.who.uid, cmd.who.gid)
		}
	}
	if p.tree.watch, err = newWatch(); err != nil {
		return explain(cmd, err)
	}
	if r.seat.leafFD, err = p.openLeaf(cmd.limits); err != nil {
		return startErrorf("hold the run", "%w", err)
	}
	return nil
}

// leaveSeat undoes takeSeat.
func (r *Prepared) leaveSeat() {
	if r.seat.process != nil {
		r.closeSeat()
		r.seat.process.undoStart()
	}
}

// closeSeat closes what is the task's, not the runner's.
func (r *Prepared) closeSeat() { closeFDs(r.seat.writers[0], r.seat.writers[1], r.seat.leafFD) }

// spawn forks.
func (r *Prepared) spawn() (_ *Process, err error) {
	h, cmd, p := r.host, r.cmd, r.seat.process
	if h.portable {
		return h.spawnPortable(cmd)
	}
	if cmd.far != nil {
		err = p.forkFar(cmd, r.seat.writers, r.seat.leafFD)
	} else if cmd.order != nil {
		err = p.forkInShim(cmd, r.seat.writers, r.seat.leafFD)
	} else if err = p.fork(cmd, r.seat.writers, r.seat.leafFD); err != nil {
		err = explain(cmd, err)
	}
	r.closeSeat()
	if err != nil {
		p.undoStart()
		return nil, err
	}
	watched := []int{p.pipes[0], p.pipes[1], p.tree.pidfd}
	if p.tree.first != nil {
		watched = append(watched, p.tree.first.result)
	}
	if err := p.tree.watch.add(watched...); err != nil {
		p.killTree()
		p.end()
		p.retire()
		_, _ = p.wait()
		p.undoStart()
		return nil, explain(cmd, err)
	}
	return p, nil
}

// fork starts the main process, in the leaf if there is one. Whether a process may be born in a leaf is not known before it has been tried: rights and the kernel
// decide. So as long as none has been, a refusal is tried again without, and if that works there are no cgroups here.
func (p *Process) fork(cmd *command, writers [2]int, leafFD int) error {
	h := p.host
	var pidfd int
	sys := &syscall.SysProcAttr{Setsid: true, Credential: cmd.who.cred, PidFD: &pidfd}
	attr := &syscall.ProcAttr{Dir: cmd.dir, Env: cmd.env, Sys: sys,
		Files: []uintptr{cmd.stdin.Fd(), uintptr(writers[0]), uintptr(writers[1])}}
	if leafFD >= 0 {
		sys.UseCgroupFD, sys.CgroupFD = true, leafFD
	}
	h.forking.RLock()
	defer h.forking.RUnlock()
	p.tree.startTicks = ticksSinceBoot()
	p.started = time.Now()
	pid, err := forkExec(cmd, attr)
	if err != nil && sys.UseCgroupFD && !h.cgroupsWork.Load() && len(cmd.limits.Needs()) == 0 {
		sys.UseCgroupFD = false
		var again error
		if pid, again = forkExec(cmd, attr); again != nil {
			return again
		}
		h.log.Warn("cgroups cannot be used: the kernel refused to start a process in a leaf", "cgroup", h.cgroups.root, "error", err)
		h.cgroupsBroke.Store(true)
		unix.Rmdir(p.tree.leaf)
		p.tree.leaf = ""
		err = nil
	}
	runtime.KeepAlive(cmd.stdin)
	if err != nil {
		return err
	}
	if sys.UseCgroupFD {
		h.cgroupsWork.Store(true)
	}
	p.pid, p.tree.pidfd = pid, pidfd
	h.enter(p)
	return nil
}

// openLeaf makes and opens the run's leaf, if there are cgroups, and sets its limits.
func (p *Process) openLeaf(set limits.Set) (fd int, err error) {
	h := p.host
	if err := h.mayLimit(set); err != nil {
		return -1, err
	}
	if h.cgroups == nil || h.cgroupsBroke.Load() {
		return -1, nil
	}
	leaf, err := h.cgroups.make(p.id)
	if err != nil {
		return -1, err
	}
	p.tree.leaf = leaf
	if err := setLimits(leaf, set.Only(func(limit string) bool { return limit != limits.MemoryMax || h.controls("memory") })); err != nil {
		return -1, err
	}
	fd, err = unix.Open(leaf, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open cgroup %s: %w", leaf, err)
	}
	return fd, nil
}

// undoStart gives back everything that a started process holds but the process.
func (p *Process) undoStart() {
	closeFDs(p.pipes[0], p.pipes[1], p.tree.pidfd)
	if p.tree.first != nil {
		unix.Close(p.tree.first.result)
		p.tree.first = nil
	}
	p.pipes, p.tree.pidfd = [2]int{-1, -1}, -1
	if p.tree.watch != nil {
		p.tree.watch.close()
	}
	if p.tree.leaf != "" {
		p.host.removeLeaf(p.id, p.tree.leaf)
	}
	p.host.leave(p.id)
}

func closeFDs(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// inputFile holds a task's standard input in memory, so that nobody has to feed it.
func inputFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "stdin")
	if _, err := file.Write(content); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Seek(0, 0); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
