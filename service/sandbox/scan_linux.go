package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// finder lists processes; it is called again until it finds nobody new.
type finder func() ([]proc, error)

// members finds the run's processes where there is no cgroup: see the package comment for what they are known by.
func (p *Process) members() ([]proc, error) { return p.found(nil) }

// found finds members, and with links those who hold one of these files.
func (p *Process) found(links map[string]bool) ([]proc, error) {
	all, err := p.census()
	if err != nil {
		return nil, err
	}
	others := p.host.otherMains(p.pid)
	in := map[int]bool{p.pid: true}
	var members, rest []proc
	for _, one := range all.procs {
		switch {
		case one.dead() || one.startTicks < p.tree.startTicks:
		case one.pid == p.pid && p.tree.first != nil: // it ends by itself when the others have
		case one.pid == p.pid, one.pgrp == p.pid, one.session == p.pid:
			members, in[one.pid] = append(members, one), true
		case others[one.session]:
		case all.mark(one) == p.mark, links != nil && !p.host.isForking(one.pid) && holds(one.pid, links):
			members, in[one.pid] = append(members, one), true
		default:
			rest = append(rest, one)
		}
	}
	for grew := true; grew; {
		grew = false
		for i, one := range rest {
			if one.pid != 0 && in[one.ppid] {
				members, in[one.pid], grew = append(members, one), true, true
				rest[i].pid, rest[i].ppid = 0, 0
			}
		}
	}
	return members, nil
}

// otherMains is the main processes of the other runs that are live: what is in their sessions is theirs.
func (h *Host) otherMains(pid int) map[int]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	others := make(map[int]bool, len(h.live))
	for _, p := range h.live {
		if p != nil && p.pid != pid {
			others[p.pid] = true
		}
	}
	return others
}

// isForking says that a process may be on its way from a fork, here or in the shim, to its exec: until then it has every pipe that this process has. Ask
// before you look at its descriptors: it may reach the exec in between.
func (h *Host) isForking(pid int) bool {
	return sameProgram(pid, os.Getpid()) || h.shims.isShimLike(pid)
}

// openProc opens a pidfd of the very process that was seen, or fails.
func openProc(seen proc) (pidfd int, ok bool) {
	fd, err := unix.PidfdOpen(seen.pid, 0)
	if err != nil {
		return -1, false
	}
	now, ok := readProc(seen.pid)
	if !ok || now.startTicks != seen.startTicks || now.dead() {
		unix.Close(fd)
		return -1, false
	}
	return fd, true
}

func signalFound(find finder, sig unix.Signal) error {
	procs, err := find()
	for _, one := range procs {
		if fd, ok := openProc(one); ok {
			_ = unix.PidfdSendSignal(fd, sig, nil, 0) // it may have ended meanwhile
			unix.Close(fd)
		}
	}
	return err
}

// killFound stops what find finds until it finds nobody new, so that nothing can fork behind its back, then kills all of it and waits until it is gone. A signal may come
// in the middle of a fork, whose child is then seen later than its parent: only a look that began when all had come to a stop is the last.
func killFound(find finder, patience time.Duration) error {
	pidfds := map[proc]int{}
	defer func() {
		for _, fd := range pidfds {
			unix.Close(fd)
		}
	}()
	seen := map[proc]bool{}
	for deadline, still := time.Now().Add(patience), true; ; {
		procs, err := find()
		if err != nil {
			return fmt.Errorf("cannot list processes: %w", err)
		}
		fresh, moving := 0, 0
		for _, one := range procs {
			key := proc{pid: one.pid, startTicks: one.startTicks}
			if _, held := pidfds[key]; held && one.canFork() {
				moving++
			}
			if seen[key] {
				continue
			}
			seen[key] = true
			fresh++
			if fd, ok := openProc(one); ok {
				_ = unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0)
				pidfds[key] = fd
			}
		}
		if fresh == 0 && still {
			break
		}
		if time.Now().After(deadline) {
			break // it forks faster than we look; kill what we have
		}
		still = fresh+moving == 0
	}
	var left []int
	for one, fd := range pidfds {
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			left = append(left, one.pid)
			unix.Close(fd)
			delete(pidfds, one)
		}
	}
	left = append(left, awaitEnd(pidfds, patience)...)
	if len(left) > 0 {
		return fmt.Errorf("processes that do not end: %v", left)
	}
	return nil
}

// awaitEnd waits until the processes have ended, but not for long, and returns those that have not.
func awaitEnd(pidfds map[proc]int, patience time.Duration) (left []int) {
	deadline := time.Now().Add(patience)
	for one, fd := range pidfds {
		for {
			wait := max(time.Until(deadline).Milliseconds(), 0)
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, int(wait))
			if err == unix.EINTR {
				continue
			}
			if n == 0 {
				left = append(left, one.pid)
			}
			break
		}
	}
	return left
}

// Sweep ends what an earlier life of this runner left behind: every leaf and every marked process that has this host's prefix and is not of a live run.
func (h *Host) Sweep() error {
	var failed []error
	if h.cgroups != nil {
		h.cgroups.sweepGone()
		ids, err := h.cgroups.left()
		failed = append(failed, err)
		for _, id := range ids {
			if !h.isLive(id) {
				failed = append(failed, endCgroup(h.cgroups.leaf(id), gone))
			}
		}
	}
	failed = append(failed, killFound(h.strays, gone))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("cannot end what an earlier life left: %w", err)
	}
	return nil
}

// strays finds marked processes of runs that are not live. Neither this process nor those it descends from are strays, whatever they inherited.
func (h *Host) strays() ([]proc, error) {
	all, err := h.taker.take()
	if err != nil {
		return nil, err
	}
	parents := make(map[int]int, len(all.procs))
	for _, one := range all.procs {
		parents[one.pid] = one.ppid
	}
	ancestors := map[int]bool{}
	for pid := os.Getppid(); pid > 0 && !ancestors[pid]; pid = parents[pid] {
		ancestors[pid] = true
	}
	var strays []proc
	for _, one := range all.procs {
		if one.dead() || ancestors[one.pid] {
			continue
		}
		if id, marked := strings.CutPrefix(all.mark(one), h.prefix); marked && !h.isLive(id) {
			strays = append(strays, one)
		}
	}
	return strays, nil
}

// pipeLinks is what the descriptors of those who hold the run's pipes link to.
func (p *Process) pipeLinks() map[string]bool {
	links := map[string]bool{}
	for _, fd := range p.pipes {
		if fd < 0 {
			continue
		}
		if link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil {
			links[link] = true
		}
	}
	return links
}
