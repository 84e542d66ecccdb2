package sandbox

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// adoptsOrphans says whether processes whose parent has ended become children of this one: it is the first process of a container, or was made a subreaper.
func adoptsOrphans() bool {
	if os.Getpid() == 1 {
		return true
	}
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptrOf(&subreaper), 0, 0, 0)
	return err == nil && subreaper != 0
}

// reaper reaps orphans that became this process's children. Whoever else in this program starts children waits for those, so only a zombie that is of another
// session, is no run's main process and has been one for a while is taken.
type reaper struct {
	host *Host
	quit chan struct{}
	done sync.WaitGroup
}

// orphanWait is how long a child must have been a zombie before it counts as nobody's.
const orphanWait = time.Second

func startReaper(h *Host) *reaper {
	r := &reaper{host: h, quit: make(chan struct{})}
	r.done.Go(r.run)
	return r
}

func (r *reaper) stop() {
	close(r.quit)
	r.done.Wait()
}

func (r *reaper) run() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	seen := map[proc]time.Time{}
	var again <-chan time.Time
	for {
		select {
		case <-r.quit:
			return
		case <-ended:
			if again == nil {
				again = time.After(orphanWait / 10) // many may end at once: one look for all
			}
		case <-again:
			again = nil
			if r.look(seen) {
				again = time.After(orphanWait)
			}
		}
	}
}

// look reaps those that have waited long enough and says whether some have not.
func (r *reaper) look(seen map[proc]time.Time) (waiting bool) {
	all, err := allProcs()
	if err != nil {
		return false
	}
	self := os.Getpid()
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	zombies := map[proc]bool{}
	for _, one := range all {
		if one.ppid != self || one.state != 'Z' || one.session == session {
			continue
		}
		zombies[one] = true
		switch since, ok := seen[one]; {
		case !ok:
			seen[one] = time.Now()
			waiting = true
		case time.Since(since) < orphanWait:
			waiting = true
		default:
			r.host.reapOrphan(one.pid)
		}
	}
	for one := range seen {
		if !zombies[one] {
			delete(seen, one)
		}
	}
	return waiting
}

// reapOrphan reaps a zombie child unless it is a run's main process.
func (h *Host) reapOrphan(pid int) {
	h.forking.Lock() // not between a fork and its entry in live
	defer h.forking.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.live {
		if p != nil && p.pid == pid {
			return
		}
	}
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
}
