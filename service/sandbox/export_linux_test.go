package sandbox

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// SetPortable makes a host do as the unixes that are not Linux do.
func SetPortable(h *Host) { h.portable = true }

// Settle waits for what is removed and reaped in the background.
func Settle(h *Host) { h.removals.Wait() }

// Leaves lists the runs whose leaves are there, when those that are being removed are gone.
func Leaves(t *testing.T, h *Host) []string {
	t.Helper()
	Settle(h)
	if h.cgroups == nil {
		return nil
	}
	ids, err := h.cgroups.left()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// NewMarks is a reader of markers that looks at a process's number in its own way.
func NewMarks(look func(pid int) string) (mark func(pid int) string) {
	m := &marker{look: func(one proc) string { return look(one.pid) }}
	return func(pid int) string { return m.of(proc{pid: pid}) }
}

// MaxHanging is how many reads of one account's processes may hang.
const MaxHanging = maxHanging

// HasCmdline lists the living processes with this argument.
func HasCmdline(t *testing.T, arg string) (pids []int) {
	t.Helper()
	all, err := allProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.dead() {
			continue
		}
		if hasArg(one.pid, arg) {
			pids = append(pids, one.pid)
		}
	}
	return pids
}

// CountZombies counts this process's children that have ended and are not reaped.
func CountZombies() (n int, err error) {
	all, err := allProcs()
	for _, one := range all {
		if one.ppid == os.Getpid() && one.dead() {
			n++
		}
	}
	return n, err
}

// KillShim kills the host's shim, as an operator's mistake would.
func KillShim(h *Host) {
	h.shims.mu.Lock()
	defer h.shims.mu.Unlock()
	for _, one := range h.shims.running {
		_ = unix.PidfdSendSignal(one.pidfd, unix.SIGKILL, nil, 0)
		fds := []unix.PollFd{{Fd: int32(one.pidfd), Events: unix.POLLIN}}
		for _, err := unix.Poll(fds, -1); err == unix.EINTR; _, err = unix.Poll(fds, -1) {
		}
	}
}

// WithoutOverlay makes a host ask for an overlay that its kernel does not have.
func WithoutOverlay(h *Host) { h.setOverlay("no-such-overlay") }

// Overlay is what makes scratch, or empty.
func Overlay(h *Host) string { return h.overlayNow() }

// LeafOwner is the name of the cgroup that says whose leaves have a prefix, as another process's.
func LeafOwner(prefix string, pid int, startTicks uint64) string {
	return prefix + ownerMark + strconv.Itoa(pid) + "." + strconv.FormatUint(startTicks, 10) + "." + pidNamespace()
}

// CgroupDir is where leaves are made.
func CgroupDir(h *Host) string { return h.cgroups.root }
