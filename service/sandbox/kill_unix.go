//go:build unix

package sandbox

import (
	"syscall"
	"time"
)

// Terminate asks every process of the run to end (SIGTERM, then SIGCONT for those that are stopped), and kills what is left after grace. It returns at once. Called
// again, the earlier of the two deadlines holds.
func (p *Process) Terminate(grace time.Duration) {
	if grace <= 0 {
		p.Kill()
		return
	}
	p.background(func() {
		p.signalTree(syscall.SIGTERM)
		p.signalTree(syscall.SIGCONT)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	due := time.AfterFunc(grace, p.Kill)
	if p.grace == nil {
		p.grace = due
		p.graceEnds = time.Now().Add(grace)
		return
	}
	if ends := time.Now().Add(grace); ends.Before(p.graceEnds) {
		p.grace.Stop()
		p.grace, p.graceEnds = due, ends
		return
	}
	due.Stop()
}

// Kill ends every process of the run, at once and without asking. It does not wait for them to be gone; Pump does.
func (p *Process) Kill() {
	p.background(p.killTree)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck == nil && !p.ended {
		p.killed = time.Now()
		p.stuck = time.AfterFunc(stuckAfter, p.giveUp)
	}
}

// stuckAfter is how long killed processes are waited for. One that hangs in the kernel, such as on a dead server's file system, stays for as long as it likes: its run
// ends without it. What still runs does not hang (see giveUp).
const stuckAfter = time.Second

// background runs do, unless the run is over, while the main process's number is still the run's own.
func (p *Process) background(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.work.Go(func() {
		p.host.signallers <- struct{}{}
		defer func() { <-p.host.signallers }()
		do()
	})
}

// maxSignallers is how many runs are signalled at a time: each that waits in a system call would take a thread, which the Go runtime keeps for good.
const maxSignallers = 8

// retire makes sure that nobody signals the run from here on. The main process may be reaped after it.
func (p *Process) retire() {
	p.mu.Lock()
	p.ended = true
	for _, timer := range []*time.Timer{p.grace, p.stuck} {
		if timer != nil {
			timer.Stop()
		}
	}
	p.mu.Unlock()
	p.work.Wait()
}
