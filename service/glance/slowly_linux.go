package glance

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// cmdlinePatience is how long one command line may take.
	cmdlinePatience = 50 * time.Millisecond
	// maxStuck is how many reads may hang at a time; then no more are tried.
	maxStuck = 8
)

// slowly reads command lines that may never come.
var slowly stuckReads

// stuckReads knows the processes whose command line is being waited for, so that
// no second thread waits for it too.
type stuckReads struct {
	mu   sync.Mutex
	pids map[int64]bool
}

func (s *stuckReads) cmdline(proc int, pid int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pids[pid] || len(s.pids) >= maxStuck {
		return ""
	}
	if s.pids == nil {
		s.pids = map[int64]bool{}
	}
	s.pids[pid] = true
	// Opening waits for nothing, and the caller's directory is open only now.
	fd, err := unix.Openat(proc, strconv.FormatInt(pid, 10)+"/cmdline", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		delete(s.pids, pid)
		return ""
	}
	read := make(chan string, 1)
	go func() {
		defer unix.Close(fd)
		buf := make([]byte, maxCmdline+1)
		n, _ := unix.Read(fd, buf)
		s.mu.Lock()
		delete(s.pids, pid)
		s.mu.Unlock()
		read <- string(buf[:max(n, 0)])
	}()
	s.mu.Unlock()
	defer s.mu.Lock()
	patience := time.NewTimer(cmdlinePatience)
	defer patience.Stop()
	select {
	case text := <-read:
		return text
	case <-patience.C:
		return ""
	}
}
