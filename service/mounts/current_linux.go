package mounts

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// current is the last reading. The kernel tells by poll when it is out of date,
// which costs a hundredth of reading again.
var current struct {
	sync.Mutex
	// watched is open as long as the process lives. It is no os.File: Go's poller
	// would consume the notices.
	watched int
	table   *Table
}

// Now gives the mounts of this process as they are now.
func Now() (*Table, error) {
	current.Lock()
	defer current.Unlock()
	if current.table != nil && !hasChanged(current.watched) {
		return current.table, nil
	}
	if current.watched == 0 {
		fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot read the mounts: %w", err)
		}
		current.watched = fd
	}
	// Before reading, so that a change meanwhile is seen the next time.
	hasChanged(current.watched)
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	table, err := Parse(string(text))
	if table.root.ID < 0 && len(table.byID) == 0 {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	current.table = table
	return table, nil
}

// hasChanged consumes the kernel's notice of a change since the last call.
func hasChanged(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds, 0)
	return err != nil || n > 0
}

// readlink must be asked only of names on local mounts.
func readlink(path string) (target string, ok bool) {
	target, err := os.Readlink(path)
	return target, err == nil
}

// Of gives the mount that an absolute path leads to now; see Table.Find.
func Of(path string) (Mount, error) {
	m, _, err := Resolve(path)
	return m, err
}

// Resolve is Table.Resolve on the mounts of now.
func Resolve(path string) (m Mount, real string, err error) {
	t, err := Now()
	if err != nil {
		return Mount{}, "", err
	}
	return t.Resolve(path)
}
