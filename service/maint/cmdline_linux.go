package maint

import (
	"os"
	"sync"
	"time"
)

// cmdlinePatience is how long a command line may take to be read: it is memory of
// its process, which may have mapped there what lies on a mount that hangs.
const cmdlinePatience = 500 * time.Millisecond

// commandLines reads those of processes.
var commandLines = lateReads{read: func(pid string) (string, error) {
	text, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return string(text), err
}}

// lateReads knows the processes whose command line has not come in time, so that
// each takes one thread and no more.
type lateReads struct {
	read func(pid string) (string, error)

	mu   sync.Mutex
	late map[string]bool
}

// of is a process's command line, empty for one that has ended. It is not known
// where it does not come.
func (l *lateReads) of(pid string) (line string, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late[pid] {
		return "", false
	}
	done := make(chan string, 1)
	go func() {
		text, _ := l.read(pid)
		done <- text
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.late, pid)
	}()
	l.mu.Unlock()
	patience := time.NewTimer(cmdlinePatience)
	defer patience.Stop()
	select {
	case line = <-done:
		known = true
	case <-patience.C:
	}
	l.mu.Lock()
	if known {
		return line, true
	}
	select {
	case line = <-done: // just now
		return line, true
	default:
	}
	if l.late == nil {
		l.late = map[string]bool{}
	}
	l.late[pid] = true
	return "", false
}
