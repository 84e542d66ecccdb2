//go:build unix && !linux

package files

import "syscall"

const oNofollow = syscall.O_NOFOLLOW
