//go:build !linux

package glance

import (
	"context"
	"strings"

	"github.com/shirou/gopsutil/v3/process"

	"github.com/runnel-io/runnel/pb"
)

// readsProc: processes are read by calls that wait for no process.
const readsProc = false

// procReader reads processes through gopsutil.
type procReader struct{}

func openProcesses(string) (*procReader, error) { return &procReader{}, nil }

func (*procReader) close() {}

func (*procReader) pids(ctx context.Context) ([]int64, error) {
	found, err := process.PidsWithContext(ctx)
	all := make([]int64, len(found))
	for i, pid := range found {
		all[i] = int64(pid)
	}
	return all, err
}

// stat leaves zero what another's process doesn't tell.
func (*procReader) stat(pid int64) (s procStat, ok bool) {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return s, false
	}
	s.pid = pid
	s.name, _ = p.Name()
	if n, err := p.NumThreads(); err == nil {
		s.threads = int64(n)
	}
	if t, err := p.Times(); err == nil {
		s.seconds = float64(int64((t.User+t.System)*100)) / 100
		s.ticks = int64(s.seconds * 100)
	}
	if m, err := p.MemoryInfo(); err == nil {
		s.memory = int64(m.RSS)
	}
	return s, true
}

func (*procReader) cmdline(pid int64, _ bool) string {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return ""
	}
	args, _ := p.CmdlineSlice() // another's process: none
	return strings.Join(args, "\x00")
}

// threads: only Linux gives them numbers and times that others can use.
func (*procReader) threads(*procStat) (all []*pb.Thread, isWaiting bool) { return nil, false }
