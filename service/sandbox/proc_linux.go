package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// proc is a line of /proc: one process as a scan saw it.
type proc struct {
	pid, ppid, pgrp, session int
	state                    byte
	startTicks               uint64 // since boot; with the number, it names the process for good
	hasMemory                bool   // threads of the kernel and those that have all but ended have none
}

func (p proc) dead() bool { return p.state == 'Z' || p.state == 'X' }

// canFork says that it runs, or could at any moment: it has not come to a stop.
func (p proc) canFork() bool { return p.state == 'R' || p.state == 'S' }

// ticksSinceBoot is now in the unit of proc.startTicks, rounded down as the kernel does.
func ticksSinceBoot() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return uint64(now.Nano()) / uint64(time.Second/100)
}

// allProcs lists the processes that this one can see, itself left out.
func allProcs() ([]proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	self := os.Getpid()
	procs := make([]proc, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == self {
			continue
		}
		if p, ok := readProc(pid); ok {
			procs = append(procs, p)
		}
	}
	return procs, nil
}

func readProc(pid int) (proc, bool) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return proc{}, false
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil || n <= 0 {
		return proc{}, false
	}
	return parseProc(buf[:n])
}

// parseProc reads /proc/PID/stat: "pid (name) state ppid pgrp session …", start time as field 22. The name may hold anything, so the last parenthesis counts.
func parseProc(stat []byte) (proc, bool) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 1 || end < open || end+2 > len(stat) {
		return proc{}, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 21 || len(fields[0]) != 1 {
		return proc{}, false
	}
	p := proc{state: fields[0][0]}
	var err error
	number := func(field []byte) int {
		n, convErr := strconv.Atoi(string(field))
		if convErr != nil {
			err = convErr
		}
		return n
	}
	p.pid = number(bytes.TrimSpace(stat[:open]))
	p.ppid, p.pgrp, p.session = number(fields[1]), number(fields[2]), number(fields[3])
	p.startTicks, p.hasMemory = uint64(number(fields[19])), fields[20][0] != '0'
	return p, err == nil
}

// execTime is how long an exec is waited for.
const execTime = 50 * time.Millisecond

// markOf is the value of the marker that a process was started with, or empty. Other users' processes can be looked into by root alone. In the middle of an exec a process has neither an environment
// nor arguments: it is looked at again.
func markOf(one proc) string {
	dir := "/proc/" + strconv.Itoa(one.pid)
	for deadline := time.Now().Add(execTime); ; time.Sleep(100 * time.Microsecond) {
		// The arguments first: where there are some, the environment is there, too.
		arguments, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			return ""
		}
		environ, err := os.ReadFile(dir + "/environ")
		if err != nil {
			return ""
		}
		for entry := range bytes.SplitSeq(environ, []byte{0}) {
			if value, ok := bytes.CutPrefix(entry, []byte(MarkerName+"=")); ok {
				return string(value)
			}
		}
		if len(arguments) > 0 || len(environ) > 0 || !one.hasMemory || time.Now().After(deadline) {
			return ""
		}
	}
}

// sameProgram says whether a process executes the program of another. Programs are told apart by
// their links' texts: to look at the file itself could hang with the mount that it is on.
func sameProgram(pid, other int) bool {
	one := readLink("/proc/" + strconv.Itoa(pid) + "/exe")
	return one != "" && one == readLink("/proc/"+strconv.Itoa(other)+"/exe")
}

// holds says whether a process has one of the given files open, by what its descriptors link to ("pipe:[123]").
func holds(pid int, links map[string]bool) bool { return len(heldBy(pid, links)) > 0 }

// heldBy lists which of the given files a process has open.
func heldBy(pid int, links map[string]bool) (held []string) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if link, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil && links[link] {
			held = append(held, link)
		}
	}
	return held
}
