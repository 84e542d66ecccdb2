package sandbox

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// The shim's part of a far start: it looks at what the runner would have looked at, says what it has forked, and then how that went.

// resolve finds the directory and the program of a far order.
func (o *order) resolve() error {
	if o.dir != "" {
		if err := checkDir(o.dir); err != nil {
			return err
		}
		if o.level != None {
			real, err := filepath.EvalSymlinks(o.dir)
			if err != nil {
				return startErrorf(fmt.Sprintf("enter directory %q", o.dir), "%w", rootCause(err))
			}
			o.dir = real
			if slices.ContainsFunc(o.hide, func(hidden string) bool { return isBelow(real, hidden) }) {
				return startErrorf(fmt.Sprintf("enter directory %q", o.dir), "it is the runner's own, which no isolated run sees")
			}
		}
	}
	found, err := lookProgram(o.argv[0], o.dir, []string{"PATH=" + o.searchPath}, account{})
	o.path = found
	return err
}

// isUnwanted says that the runner has given an order up.
func isUnwanted(sock int) bool {
	var one [1]byte
	n, _, err := unix.Recvfrom(sock, one[:], unix.MSG_DONTWAIT|unix.MSG_PEEK)
	return n > 0 || err == nil || !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
}

// tellBorn tells the runner of the first child of a far order before anything can hang in it. A child that nobody wants is ended.
func (p *plan) tellBorn(pid, pidfd int) {
	if p.far <= 0 {
		return
	}
	a := answer{pid: int64(pid)}
	if err := send(p.far, a.encode(), []int{pidfd}); err != nil || isUnwanted(p.far) {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // it may have ended
	}
}
