//go:build unix && !linux

package policy

import "syscall"

const oNofollow = syscall.O_NOFOLLOW
