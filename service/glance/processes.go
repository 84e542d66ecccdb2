package glance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/mounts"
)

// Orders of the list of processes.
const (
	byPID    = "pid"
	byCPU    = "cpu"
	byMemory = "memory"
)

// maxCmdline bounds one command line: they can have megabytes.
const maxCmdline = 4 << 10

// procStat is what one look at a process or a thread gives.
type procStat struct {
	pid     int64
	name    string
	state   byte // 'D': in a call that may not end
	threads int64
	seconds float64 // of CPU
	ticks   int64   // the same, to sort by
	memory  int64   // resident, bytes
}

func (s *procStat) key(order string) int64 {
	switch order {
	case byCPU:
		return s.ticks
	case byMemory:
		return s.memory
	}
	return 0
}

// compareAt orders by key, the largest first, then by pid.
func compareAt(aKey, aPID, bKey, bPID int64) int {
	return cmp.Or(cmp.Compare(bKey, aKey), cmp.Compare(aPID, bPID))
}

// firstPlace is where the page that q asks for begins.
func firstPlace(q *pb.SysQuery) (place, error) {
	order := cmp.Or(q.GetSort(), byPID)
	if order != byPID && order != byCPU && order != byMemory {
		return place{}, fmt.Errorf("invalid sort: sys.sort is %q and must be \"cpu\", \"memory\" or \"pid\"", shown(order))
	}
	if q.GetTop() < 0 {
		return place{}, fmt.Errorf("invalid top: sys.top is %d and must not be negative", q.GetTop())
	}
	if q.GetNext() == "" {
		return place{sort: order, left: q.GetTop(), pid: -1}, nil
	}
	at, err := placeAfter(q.GetNext())
	if err == nil && q.GetSort() != "" && q.GetSort() != at.sort {
		err = fmt.Errorf("invalid next: sys.next is of a list by %s, and sys.sort is %q", at.sort, q.GetSort())
	}
	return at, err
}

// procMount is /proc where processes are read: their memory may be on a mount
// that hangs, and then a command line can't be had.
var procMount = mounts.Mount{Device: "proc", Point: "/proc", Type: "proc"}

// processes fills in the page that begins at a place, by a helper where there
// are some. When that gets no answer, the list has no command lines.
func (g *Glancer) processes(ctx context.Context, q *pb.SysQuery, room int, reply *pb.SysReply) (missing []string, err error) {
	at, err := firstPlace(q)
	if err != nil {
		return nil, err
	}
	blind := g
	if g.cfg.Helpers != nil && readsProc {
		seen, err := g.aside(ctx, procMount, room, &pb.Glance{Sys: q})
		if err == nil {
			reply.Stats.ProcessCount, reply.Stats.Processes = seen.GetSys().GetStats().GetProcessCount(), seen.GetSys().GetStats().GetProcesses()
			reply.Next = seen.GetSys().GetNext()
			if text := seen.GetSys().GetError(); text != "" {
				missing = append(missing, text)
			}
			return missing, nil
		}
		if !isSilent(err) {
			return nil, err
		}
		missing = miss(missing, "command lines", err)
		blind = &Glancer{cfg: Config{noCommandLines: true}, proc: g.proc}
	}
	more, err := blind.processesHere(ctx, at, room, reply)
	return append(missing, more...), err
}

// processesHere fills in the page that begins at a place. Processes that end
// meanwhile are left out. By pid, pages together have every process that lives
// throughout; by cpu or memory, one whose place changes may be on none.
func (g *Glancer) processesHere(ctx context.Context, at place, room int, reply *pb.SysReply) (missing []string, err error) {
	r, err := openProcesses(g.proc)
	if err != nil {
		return missing, err
	}
	defer r.close()
	pids, err := r.pids(ctx)
	if err != nil {
		return missing, err
	}
	reply.Stats.ProcessCount = int64(len(pids))
	next, err := r.inOrder(ctx, pids, at)
	if err != nil {
		return missing, err
	}
	left := at.left
	for used := 0; ; {
		s, ok := next()
		if !ok {
			return missing, nil
		}
		if err := ctx.Err(); err != nil {
			return missing, err
		}
		p := g.process(r, &s)
		size := processSize(p)
		if used+size > room {
			if len(reply.Stats.Processes) > 0 {
				reply.Next = at.next()
				return missing, nil
			}
			missing = miss(missing, fmt.Sprintf("threads of process %d", s.pid), trim(p, room))
		}
		used += size
		reply.Stats.Processes = append(reply.Stats.Processes, p)
		at.key, at.pid = s.key(at.sort), s.pid
		if left == 1 {
			return missing, nil
		}
		if left > 0 {
			left--
			at.left = left
		}
	}
}

// inOrder gives the processes after a place one by one.
func (r *procReader) inOrder(ctx context.Context, pids []int64, at place) (next func() (procStat, bool), err error) {
	if at.sort == byPID {
		slices.Sort(pids)
		from, found := slices.BinarySearch(pids, at.pid)
		if found {
			from++
		}
		pids = pids[from:]
		return func() (s procStat, ok bool) {
			for len(pids) > 0 && !ok {
				s, ok = r.stat(pids[0])
				pids = pids[1:]
			}
			return s, ok
		}, nil
	}
	all := make([]procStat, 0, len(pids))
	for i, pid := range pids {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s, ok := r.stat(pid)
		if ok && (at.pid < 0 || compareAt(at.key, at.pid, s.key(at.sort), s.pid) < 0) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b procStat) int { return compareAt(a.key(at.sort), a.pid, b.key(at.sort), b.pid) })
	return func() (s procStat, ok bool) {
		if len(all) == 0 {
			return s, false
		}
		s, all = all[0], all[1:]
		return s, true
	}, nil
}

// process puts together a process and its threads. A thread has no command line
// of its own.
func (g *Glancer) process(r *procReader, s *procStat) *pb.Process {
	p := &pb.Process{Process: thread(s)}
	threads, isWaiting := r.threads(s)
	p.Threads = threads
	cmdline := ""
	if !g.cfg.noCommandLines {
		cmdline = r.cmdline(s.pid, isWaiting)
	}
	p.Process.Name = valid(fullName(s.name, cmdline))
	if !g.cfg.HideCommandLines {
		p.Process.Cmdline = words(cmdline)
	}
	return p
}

func thread(s *procStat) *pb.Thread {
	return &pb.Thread{Name: valid(s.name), Memory: s.memory, Time: s.seconds, Pid: s.pid}
}

// fullName makes up for the kernel's cut of names at 15 bytes, where the
// command line begins with the rest.
func fullName(name, cmdline string) string {
	const cut = 15
	if len(name) < cut {
		return name
	}
	program, _, _ := strings.Cut(cmdline, "\x00")
	if base := filepath.Base(program); strings.HasPrefix(base, name) {
		return base
	}
	return name
}

// words is a command line for people: its arguments with blanks between.
func words(cmdline string) string {
	cmdline = strings.TrimRight(cmdline, "\x00 ")
	if len(cmdline) > maxCmdline {
		cmdline = cmdline[:maxCmdline] + "…"
	}
	return valid(strings.ReplaceAll(cmdline, "\x00", " "))
}

// trim leaves out threads of a process that alone doesn't fit a reply.
func trim(p *pb.Process, room int) error {
	all := len(p.Threads)
	for len(p.Threads) > 0 && processSize(p) > room {
		p.Threads = p.Threads[:len(p.Threads)*9/10]
	}
	if len(p.Threads) == all {
		return nil
	}
	return errors.New(fmt.Sprint(all-len(p.Threads), " of ", all, " do not fit the reply"))
}
