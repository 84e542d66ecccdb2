package sandbox

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/limits"
)

// meter holds a run as a whole to limits that the kernel can't: processor time, for which there is
// no controller that ends a run, and memory where there is no memory controller. It looks at what the
// run's processes have used and ends it when that is more. A run can be above a limit by what it
// uses between two looks.
type meter struct {
	process *Process
	cpu     time.Duration // 0: not held here
	memory  int64         // 0: not held here

	mu      sync.Mutex // held while it looks; guards what follows
	timer   *time.Timer
	stopped bool
	used    time.Duration // processor time that was seen
	peak    int64         // memory that was seen
	over    string        // the limit that ended the run
	seen    map[proc]time.Duration
}

// memoryLook is how often memory is looked at.
const memoryLook = 100 * time.Millisecond

// Processor time is looked at when it could be up at the earliest, but within these.
const (
	minCPULook = 10 * time.Millisecond
	maxCPULook = 10 * time.Second
)

// startMeter starts one if the run needs it; nil: it does not.
func (p *Process) startMeter() *meter {
	m := &meter{process: p, cpu: p.limits.Duration(limits.CPUTime), seen: map[proc]time.Duration{}}
	if !p.host.controls("memory") {
		m.memory = p.limits.Bytes(limits.MemoryMax)
	}
	if m.cpu == 0 && m.memory == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer = time.AfterFunc(m.wait(), m.tick) // a short run costs no goroutine
	return m
}

// stop ends the looking, and waits for a look that goes on.
func (m *meter) stop() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	m.timer.Stop()
}

func (m *meter) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	if m.over = m.look(); m.over != "" {
		m.process.Kill()
		return
	}
	m.timer.Reset(m.wait())
}

// wait is the time until the next look.
func (m *meter) wait() time.Duration {
	wait := maxCPULook
	if m.memory > 0 {
		wait = memoryLook
	}
	if m.cpu > 0 {
		left := (m.cpu - m.used) / time.Duration(runtime.NumCPU())
		wait = min(wait, max(left, minCPULook))
	}
	return wait
}

// look returns the limit that the run is above, or nothing.
func (m *meter) look() string {
	procs := m.process.metered()
	if m.cpu > 0 {
		m.used = max(m.used, m.cpuOf(procs))
		if m.used >= m.cpu {
			return limits.CPUTime
		}
	}
	if m.memory > 0 {
		now := m.process.memoryOf(procs, m.memory)
		m.peak = max(m.peak, now)
		if now > m.memory {
			return limits.MemoryMax
		}
	}
	return ""
}

// metered lists the run's processes, without their threads, which a look at recent numbers sees too.
func (p *Process) metered() []proc {
	return slices.DeleteFunc(p.kin(), func(one proc) bool { return isThread(one.pid) })
}

func (p *Process) kin() []proc {
	switch {
	case p.holdsNamespace():
		return p.descendants()
	case p.tree.leaf == "":
		procs, _ := p.members() // none, if /proc can't be read: the next look sees
		return procs
	}
	var procs []proc
	for _, pid := range cgroupProcs(p.tree.leaf) {
		if one, ok := readProc(pid); ok {
			procs = append(procs, one)
		}
	}
	return procs
}

// isThread says whether a number is that of a thread and not of a process.
func isThread(pid int) bool {
	for line := range strings.Lines(readText("/proc/" + strconv.Itoa(pid) + "/status")) {
		if leader, ok := strings.CutPrefix(line, "Tgid:"); ok {
			return strings.TrimSpace(leader) != strconv.Itoa(pid)
		}
	}
	return false
}

// descendants are the processes of the run's own PID namespace: its first process, which is not the
// run's, adopts those whose parent has ended.
func (p *Process) descendants() (procs []proc) {
	all, err := p.census()
	if err != nil {
		return nil
	}
	in := map[int]bool{p.pid: true}
	for grew := true; grew; {
		grew = false
		for _, one := range all.procs {
			if in[one.ppid] && !in[one.pid] {
				procs, in[one.pid], grew = append(procs, one), true, true
			}
		}
	}
	return procs
}

// cpuOf is the processor time that the run has used: what its leaf says, else the sum of its
// processes. The time of one that has ended is in its parent's if that has waited for it; of others
// what was seen last is kept.
func (m *meter) cpuOf(procs []proc) (used time.Duration) {
	if leaf := m.process.tree.leaf; leaf != "" {
		if u := readUsage(leaf); u.known {
			return u.user + u.system
		}
	}
	var withChildren time.Duration
	for _, one := range procs {
		own, waited := cpuTicks(one.pid)
		withChildren += own + waited
		m.seen[proc{pid: one.pid, startTicks: one.startTicks}] = own
	}
	for _, own := range m.seen {
		used += own
	}
	return max(used, withChildren)
}

// cpuTicks reads the processor time of a process, and of the children that it has waited for.
func cpuTicks(pid int) (own, waited time.Duration) {
	stat := readText("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, 0
	}
	var ticks [4]int64 // utime, stime, cutime, cstime
	for i := range ticks {
		ticks[i], _ = strconv.ParseInt(fields[11+i], 10, 64)
	}
	const tick = time.Second / 100
	return time.Duration(ticks[0]+ticks[1]) * tick, time.Duration(ticks[2]+ticks[3]) * tick
}

// into puts what was seen into a status. The run has ended, and so has the looking.
func (m *meter) into(s *Status) {
	if m == nil {
		return
	}
	if s.CPUUser+s.CPUSystem < m.used {
		s.CPUUser, s.CPUSystem = m.used, 0
	}
	s.PeakMemoryBytes = max(s.PeakMemoryBytes, m.peak)
	s.OOM = s.OOM || m.over == limits.MemoryMax
	// The kernel counts a process by its clock's ticks and may be the first to end it; a shell tells
	// so of its child.
	const told = 128 + int(unix.SIGXCPU)
	s.CPULimit = !s.OOM && m.cpu > 0 &&
		(s.CPUUser+s.CPUSystem >= m.cpu || s.Signal == unix.SIGXCPU || s.ExitCode == told)
}
