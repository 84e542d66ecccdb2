package facts

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Read reads what needs one look only.
func Read(proc string) Facts {
	var f Facts
	var err error
	f.Memory, f.MemoryUsed, err = readMemory(proc)
	f.Miss("memory", err)
	var st unix.Statfs_t
	if err = unix.Statfs("/", &st); err == nil {
		unit := int64(st.Frsize)
		f.Storage, f.StorageUsed = int64(st.Blocks)*unit, int64(st.Blocks-st.Bfree)*unit
	}
	f.Miss("storage", err)
	f.OS, err = readOS("/etc/os-release", "/usr/lib/os-release")
	f.Miss("os", err)
	f.Host = hostAddress(proc)
	f.Load, f.UptimeSeconds, err = readLoad(proc)
	f.Miss("load", err)
	return f
}

func readMemory(proc string) (total, used int64, err error) {
	b, err := os.ReadFile(proc + "/meminfo")
	if err != nil {
		return 0, 0, err
	}
	if total, used, err = parseMeminfo(string(b)); err != nil {
		return 0, 0, err
	}
	if limit, usage, ok := cgroupsOfSelf().memory(); ok && limit < total {
		return limit, min(usage, limit), nil
	}
	return total, used, nil
}

// parseMeminfo: used is total − available, so that a full page cache isn't.
func parseMeminfo(s string) (total, used int64, err error) {
	v := map[string]int64{}
	for line := range strings.Lines(s) {
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		if n, err := strconv.ParseInt(fields[0], 10, 52); err == nil && n >= 0 {
			v[key] = n << 10
		}
	}
	if v["MemTotal"] == 0 {
		return 0, 0, errors.New("no MemTotal in /proc/meminfo")
	}
	available, ok := v["MemAvailable"]
	if !ok { // before Linux 3.14
		available = v["MemFree"] + v["Buffers"] + v["Cached"]
	}
	return v["MemTotal"], max(0, v["MemTotal"]-available), nil
}

func readLoad(proc string) (load float64, uptime int64, err error) {
	l, err1 := firstNumber(proc + "/loadavg")
	u, err2 := firstNumber(proc + "/uptime")
	return l, int64(u), errors.Join(err1, err2)
}

func firstNumber(path string) (float64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil || n < 0 || n > 1e12 || n != n {
		return 0, fmt.Errorf("cannot read a number in %s", path)
	}
	return n, nil
}

// readOS reads the first os-release that is there.
func readOS(paths ...string) (string, error) {
	var err error
	for _, path := range paths {
		var b []byte
		if b, err = os.ReadFile(path); err == nil {
			return parseOSRelease(string(b)), nil
		}
	}
	return "Linux", err
}

// parseOSRelease gives "Ubuntu 20.04". The file is assignments of a shell.
func parseOSRelease(s string) string {
	v := map[string]string{}
	for line := range strings.Lines(s) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			v[key] = shellValue(value)
		}
	}
	switch {
	case v["NAME"] != "" && v["VERSION_ID"] != "":
		return v["NAME"] + " " + v["VERSION_ID"]
	case v["PRETTY_NAME"] != "":
		return v["PRETTY_NAME"]
	case v["NAME"] != "":
		return v["NAME"]
	}
	return "Linux"
}

// shellValue takes off quotes and, within double quotes, backslashes.
func shellValue(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 && strings.IndexByte("$\"\\`", s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// sampleCPU reads /proc/stat, and the cgroup if it has less than the host.
func sampleCPU() cpuSample {
	now := cpuSample{at: time.Now()}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		now.milliCPU = int64(runtime.NumCPU()) * 1000
		return now
	}
	var cpus int64
	now.busy, now.total, cpus = parseStat(string(b))
	// NumCPU knows the set of CPUs that a container may use.
	now.milliCPU = min(max(cpus, 1), int64(runtime.NumCPU())) * 1000
	if share, used, ok := cgroupsOfSelf().cpu(); ok && share < now.milliCPU {
		now.milliCPU, now.isCgroup, now.cgroupBusy = share, true, used
	}
	return now
}

// parseStat adds up the line "cpu" and counts the lines "cpu0", "cpu1", …
func parseStat(s string) (busy, total float64, cpus int64) {
	const idle, iowait, guest = 3, 4, 8 // guest time is in user time already
	for line := range strings.Lines(s) {
		name, rest, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(name, "cpu") {
			break
		}
		if name != "cpu" {
			cpus++
			continue
		}
		for i, field := range strings.Fields(rest) {
			n, err := strconv.ParseUint(field, 10, 63)
			if err != nil || i >= guest {
				break
			}
			total += float64(n)
			if i != idle && i != iowait {
				busy += float64(n)
			}
		}
	}
	return busy, total, cpus
}
