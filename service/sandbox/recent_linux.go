package sandbox

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A short run, as most are, ends before many processes have started after it, and its children's numbers are among those that were given out since: to look at these costs a hundredth of a look at a
// big host's whole /proc.
const (
	// recentAge is how old a run may be: in this time the kernel can't give out all numbers there are, and begin again.
	recentAge = 200 * time.Millisecond
	// recentCount is how many numbers are looked at instead of all.
	recentCount = 256
)

// census is a look at the processes that may be the run's: at few, if that will do.
func (p *Process) census() (*census, error) {
	if procs, ok := p.recentProcs(); ok {
		return &census{procs: procs, marks: map[int]string{}}, nil
	}
	return p.host.taker.take()
}

// recentProcs lists the processes that were started after the main process; false if there may be others. It goes on until no number was given out meanwhile.
func (p *Process) recentProcs() (procs []proc, ok bool) {
	self := os.Getpid()
	for next := p.pid; time.Since(p.started) < recentAge; {
		last, ok := lastPID()
		if !ok || last < p.pid || last-p.pid > recentCount {
			return nil, false
		}
		for ; next <= last; next++ {
			if one, ok := readProc(next); ok && next != self {
				procs = append(procs, one)
			}
		}
		if again, ok := lastPID(); ok && again == last {
			return procs, true
		}
	}
	return nil, false
}

// lastPID is the number that was given out last in this process's PID namespace: the last field of /proc/loadavg. Threads have such numbers, too; a pidfd can't be had of them.
func lastPID() (pid int, ok bool) {
	fd, err := unix.Open("/proc/loadavg", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var buf [128]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return 0, false
	}
	text := strings.TrimSpace(string(buf[:max(n, 0)]))
	pid, err = strconv.Atoi(text[strings.LastIndexByte(text, ' ')+1:])
	return pid, err == nil
}
