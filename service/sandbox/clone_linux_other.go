//go:build linux && !amd64 && !arm64

package sandbox

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Nothing can be isolated on machines that there is no assembly for.

func cloneChild(*cloneArgs, uintptr) uintptr { return 0 }

func cloned(uintptr) (pid uintptr, errno syscall.Errno) { return 0, unix.ENOSYS }

type childStack struct{}

func (*childStack) prepare(*cloneArgs, *plan, func(*plan)) {}
