//go:build unix && !linux

package lockfile

import (
	"errors"
	"syscall"
)

// dying says whether a process has ended.
func dying(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
