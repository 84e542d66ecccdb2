package sandbox

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What this process was given for itself, as by OOMScoreAdjust= and Nice= of its unit, is not its runs'.

const ioprioWhoProcess = 1

// isSpecial says whether this process has an OOM score, a priority or an I/O priority that is not the usual one.
func isSpecial() bool {
	score := strings.TrimSpace(readText("/proc/self/oom_score_adj"))
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the kernel's 20 - nice
	ioprio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
	return score != "" && score != "0" || err == nil && nice != 20 || errno == 0 && ioprio != 0
}

// forgetOOMScore gives the shim, whose memory its first children share, the usual OOM score. A
// process without rights may not go below the one it was born with: then it stays.
func forgetOOMScore() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0) }

// addPriority gives the program its own priority. One without rights may not get a better one than
// the runner has: then that stays.
func (s *steps) addPriority(nice int64) {
	s.add("set its priority", unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, int(nice)).may = unix.EACCES
	s.add("set its I/O priority", unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, 0).may = unix.EPERM
}

// addKeyring gives a program another session keyring than the runner's: what is in there is not its.
// A strict one can't use keys at all.
func (s *steps) addKeyring(o *order) {
	if o.level == Standard || o.level == None && o.uid >= 0 {
		s.add("join a session keyring", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0).may = unix.ENOSYS
	}
}
