//go:build !linux

package glance

import (
	"context"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/process"

	"github.com/runnel-io/runnel/pb"
)

// readFacts reads what needs one look only.
func readFacts(string) facts {
	var f facts
	m, err := mem.VirtualMemory()
	if f.miss("memory", err); err == nil {
		f.memory, f.memoryUsed = int64(m.Total), int64(m.Total-min(m.Available, m.Total))
	}
	d, err := disk.Usage(systemDisk())
	if f.miss("storage", err); err == nil {
		f.storage, f.storageUsed = int64(d.Total), int64(d.Used)
	}
	name, _, version, err := host.PlatformInformation()
	f.miss("os", err)
	f.os = strings.TrimSpace(name + " " + version)
	f.host = hostAddress()
	if l, err := load.Avg(); err == nil { // there is none on Windows
		f.load = l.Load1
	}
	up, err := host.Uptime()
	f.miss("uptime", err)
	f.uptimeSeconds = int64(up)
	return f
}

func systemDisk() string {
	if runtime.GOOS == "windows" {
		return os.Getenv("SystemDrive") + `\`
	}
	return "/"
}

// hostAddress is the address that the system would send from. To connect a UDP
// socket looks up the route and sends nothing; the addresses are of networks
// for documentation, which only the default route leads to.
func hostAddress() string {
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		c, err := net.Dial("udp", to)
		if err != nil {
			continue
		}
		a, _ := c.LocalAddr().(*net.UDPAddr)
		c.Close()
		if a != nil && a.IP.IsGlobalUnicast() {
			return a.IP.String()
		}
	}
	return ""
}

func sampleCPU() cpuSample {
	now := cpuSample{at: time.Now(), milliCPU: int64(runtime.NumCPU()) * 1000}
	if all, err := cpu.Times(false); err == nil && len(all) > 0 {
		t := all[0]
		now.total = t.User + t.System + t.Idle + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
		now.busy = now.total - t.Idle - t.Iowait
	}
	return now
}

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
