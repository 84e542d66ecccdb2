//go:build unix

package app

import "syscall"

// descriptorLimit is how many files this process may have open.
func descriptorLimit() (limit uint64, known bool) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0, false
	}
	return uint64(r.Cur), true // Go has raised it to what is allowed
}
