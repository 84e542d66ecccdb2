//go:build !linux

package facts

import (
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
)

// Read reads what needs one look only.
func Read(string) Facts {
	var f Facts
	m, err := mem.VirtualMemory()
	if f.Miss("memory", err); err == nil {
		f.Memory, f.MemoryUsed = int64(m.Total), int64(m.Total-min(m.Available, m.Total))
	}
	d, err := disk.Usage(systemDisk())
	if f.Miss("storage", err); err == nil {
		f.Storage, f.StorageUsed = int64(d.Total), int64(d.Used)
	}
	name, _, version, err := host.PlatformInformation()
	f.Miss("os", err)
	f.OS = strings.TrimSpace(name + " " + version)
	f.Host = hostAddress()
	if l, err := load.Avg(); err == nil { // there is none on Windows
		f.Load = l.Load1
	}
	up, err := host.Uptime()
	f.Miss("uptime", err)
	f.UptimeSeconds = int64(up)
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
