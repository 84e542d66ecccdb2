package sandbox

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// markPatience is how long a process's environment may take to be read. It is memory of that
	// process, which may have mapped there what lies on a mount that hangs.
	markPatience = 2 * time.Second
	// maxHanging is how many such reads of one account's processes may hang, each with a thread. The
	// environments of its other processes are not read then: nobody else's are left out.
	maxHanging = 3
)

// marks reads markers, of all hosts of this program.
var marks = marker{look: markOf}

// marker knows the reads that have not come back.
type marker struct {
	look func(proc) string

	mu    sync.Mutex
	reads map[proc]*markRead // by number and start
}

type markRead struct {
	began time.Time
	late  bool   // its patience has run out
	uid   uint32 // of the process, if late
	done  chan struct{}
	mark  string // once it is done
}

// of is what look finds, or nothing where that takes too long.
func (m *marker) of(one proc) string {
	r := m.read(one)
	if r == nil {
		return ""
	}
	patience := time.NewTimer(time.Until(r.began.Add(markPatience)))
	defer patience.Stop()
	select {
	case <-r.done:
		return r.mark
	case <-patience.C:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.late, r.uid = true, accountOf(one.pid)
	return ""
}

// read begins to read, or joins a read that has taken longer than an exec: what is younger may have
// seen what the process was before. It gives nil where nothing is to be waited for.
func (m *marker) read(one proc) *markRead {
	key := proc{pid: one.pid, startTicks: one.startTicks}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.reads[key]; r != nil && (r.late || time.Since(r.began) > execTime) {
		if r.late {
			return nil
		}
		return r
	}
	if !m.mayRead(one.pid) {
		return nil
	}
	r := &markRead{began: time.Now(), done: make(chan struct{})}
	if m.reads == nil {
		m.reads = map[proc]*markRead{}
	}
	m.reads[key] = r
	go func() {
		mark := m.look(one)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.reads[key] == r {
			delete(m.reads, key)
		}
		r.mark = mark
		close(r.done)
	}()
	return r
}

// mayRead says whether not so many of the account's processes hang already that no more are tried.
func (m *marker) mayRead(pid int) bool {
	hanging := map[uint32]int{}
	for _, r := range m.reads {
		if r.late {
			hanging[r.uid]++
		}
	}
	return len(hanging) == 0 || hanging[accountOf(pid)] < maxHanging
}

// accountOf is the account that a process's files in /proc belong to.
func accountOf(pid int) uint32 {
	var stat unix.Stat_t
	_ = unix.Stat("/proc/"+strconv.Itoa(pid), &stat) // it has ended: whose it was is all the same
	return stat.Uid
}
