package sandbox

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits bound a run. The zero value bounds nothing. A limit that this host can't set makes the start fail; none is skipped.
type Limits struct {
	// Limits of the run as a whole; they need a cgroup controller each.
	CPU            CPUMax
	CPUWeight      int64 // 1 to 10000; 0 means not set
	MemoryMaxBytes int64 // with swap, which is none; 0 means not set
	IO             []IOMax
	PidsMax        int64 // processes and threads; 0 means not set

	// Rlimits of each process.
	Rlimits []Rlimit
}

// CPUMax is processor time a period, over all processors. A zero quota means no limit.
type CPUMax struct{ QuotaMicros, PeriodMicros int64 }

// IOMax bounds one block device. A zero rate means no limit.
type IOMax struct {
	Major, Minor                           uint32
	ReadBPS, WriteBPS, ReadIOPS, WriteIOPS uint64
}

// Rlimit is a resource limit, soft and hard.
type Rlimit struct {
	Resource string // cpu (seconds), data, fsize, nofile, stack, core or nproc
	Max      uint64
}

// LimitsText is limits as a task writes them. An empty field asks for nothing.
type LimitsText struct {
	CPUMax, MemoryMax, IOMax, PidsMax, CPUWeight     string
	CPUTime, FileSize, OpenFiles, Stack, Core, Nproc string
}

// ParseLimits reads them all; the error names the field as a task spells it.
func ParseLimits(text LimitsText) (limits Limits, err error) {
	field := func(name, value string, parse func(string) error) {
		if err == nil && value != "" {
			if parseErr := parse(value); parseErr != nil {
				err = fmt.Errorf("limits.%s: %w", name, parseErr)
			}
		}
	}
	count := func(to *int64, least, most int64) func(string) error {
		return func(s string) (err error) {
			*to, err = parseCount(s, least, most)
			return err
		}
	}
	rlimit := func(resource string, parse func(string) (int64, error)) func(string) error {
		return func(s string) error {
			n, err := parse(s)
			if err == nil {
				limits.Rlimits = append(limits.Rlimits, Rlimit{resource, uint64(n)})
			}
			return err
		}
	}
	counted := func(least int64) func(string) (int64, error) {
		return func(s string) (int64, error) { return parseCount(s, least, math.MaxInt32) }
	}
	field("cpuMax", text.CPUMax, func(s string) (err error) { limits.CPU, err = ParseCPUMax(s); return err })
	field("cpuWeight", text.CPUWeight, count(&limits.CPUWeight, 1, 10000))
	field("memoryMax", text.MemoryMax, func(s string) (err error) {
		if limits.MemoryMaxBytes, err = ParseBytes(s); err == nil && limits.MemoryMaxBytes == 0 {
			err = errors.New("must be more than 0")
		}
		return err
	})
	field("ioMax", text.IOMax, func(s string) (err error) { limits.IO, err = ParseIOMax(s); return err })
	field("pidsMax", text.PidsMax, count(&limits.PidsMax, 1, 1<<22))
	field("cpuTime", text.CPUTime, rlimit("cpu", parseSeconds))
	field("fileSize", text.FileSize, rlimit("fsize", ParseBytes))
	field("openFiles", text.OpenFiles, rlimit("nofile", counted(3)))
	field("stack", text.Stack, rlimit("stack", func(s string) (n int64, err error) {
		if n, err = ParseBytes(s); err == nil && n == 0 {
			err = errors.New("must be more than 0")
		}
		return n, err
	}))
	field("core", text.Core, rlimit("core", ParseBytes))
	field("nproc", text.Nproc, rlimit("nproc", counted(1)))
	if err != nil {
		return Limits{}, err
	}
	return limits, nil
}

func parseCount(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}

// parseSeconds reads a duration of whole seconds.
func parseSeconds(s string) (int64, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("%q is not a duration of whole seconds such as 90s", s)
	}
	return int64(d / time.Second), nil
}

// ParseBytes reads a size: a number of bytes, or one with K, M, G or T, as k, m, g or t, for powers of 1024.
func ParseBytes(s string) (int64, error) {
	digits, unit := s, int64(1)
	if s != "" {
		if shift := strings.IndexByte("KMGT", s[len(s)-1]&^0x20); shift >= 0 {
			digits, unit = s[:len(s)-1], 1<<(10*(shift+1))
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, fmt.Errorf(`%q is not a size such as 65536 or "64M"`, s)
	}
	if int64(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is too big", s)
	}
	return int64(n) * unit, nil
}

// What the kernel takes for cpu.max.
const (
	minCPUMicros      = 1_000
	maxCPUMicros      = 1_000_000
	defaultCPUPeriod  = 100_000
	maxCPUQuotaMicros = 1 << 40
)

// ParseCPUMax reads cgroup v2's cpu.max: quota and period in microseconds, "max" as the quota for no limit; the period may be left out and is 100000 then. A quota under a
// millisecond, which the kernel refuses, is scaled up with its period.
func ParseCPUMax(s string) (CPUMax, error) {
	bad := fmt.Errorf(`%q is not a quota and a period in microseconds such as "50000 100000"`, s)
	fields := strings.Fields(s)
	if len(fields) < 1 || len(fields) > 2 {
		return CPUMax{}, bad
	}
	period := int64(defaultCPUPeriod)
	if len(fields) == 2 {
		var err error
		if period, err = parseCount(fields[1], minCPUMicros, maxCPUMicros); err != nil {
			return CPUMax{}, fmt.Errorf("period %w", err)
		}
	}
	if fields[0] == "max" {
		return CPUMax{}, nil
	}
	quota, err := parseCount(fields[0], 1, maxCPUQuotaMicros)
	if err != nil {
		return CPUMax{}, bad
	}
	if quota < minCPUMicros {
		scale := (minCPUMicros + quota - 1) / quota
		quota, period = quota*scale, period*scale
		if period > maxCPUMicros {
			return CPUMax{}, fmt.Errorf("%q is less than the kernel can do: 1000 in 1000000 microseconds", s)
		}
	}
	return CPUMax{quota, period}, nil
}

// ParseIOMax reads lines of cgroup v2's io.max: "8:16 rbps=102400 wiops=max", one a device, parted by newlines, commas or semicolons.
func ParseIOMax(s string) (list []IOMax, err error) {
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == ',' || r == ';' }) {
		one, err := parseIODevice(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf(`%q is not a device and its rates such as "8:16 rbps=102400"`, s)
	}
	return list, nil
}

func parseIODevice(fields []string) (one IOMax, err error) {
	if len(fields) < 2 {
		return one, errors.New(`want a device and its rates such as "8:16 rbps=102400"`)
	}
	major, minor, ok := strings.Cut(fields[0], ":")
	majorNumber, err1 := strconv.ParseUint(major, 10, 12)
	minorNumber, err2 := strconv.ParseUint(minor, 10, 20)
	if !ok || err1 != nil || err2 != nil {
		return one, fmt.Errorf("%q is not the number of a device such as 8:16", fields[0])
	}
	one.Major, one.Minor = uint32(majorNumber), uint32(minorNumber)
	rates := map[string]*uint64{"rbps": &one.ReadBPS, "wbps": &one.WriteBPS, "riops": &one.ReadIOPS, "wiops": &one.WriteIOPS}
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		rate, known := rates[name]
		if !known {
			return one, fmt.Errorf("%q is not rbps, wbps, riops or wiops", name)
		}
		if value == "max" {
			*rate = 0
			continue
		}
		n, err := ParseBytes(value)
		if err != nil || n == 0 {
			return one, fmt.Errorf("%s: %q is not a rate", name, value)
		}
		*rate = uint64(n)
	}
	return one, nil
}

// String is the line that io.max takes.
func (m IOMax) String() string {
	text := fmt.Sprintf("%d:%d", m.Major, m.Minor)
	for _, rate := range []struct {
		name string
		max  uint64
	}{{"rbps", m.ReadBPS}, {"wbps", m.WriteBPS}, {"riops", m.ReadIOPS}, {"wiops", m.WriteIOPS}} {
		if rate.max == 0 {
			text += " " + rate.name + "=max"
		} else {
			text += fmt.Sprintf(" %s=%d", rate.name, rate.max)
		}
	}
	return text
}

// String is what cpu.max takes.
func (m CPUMax) String() string {
	if m.QuotaMicros == 0 {
		return "max"
	}
	return fmt.Sprintf("%d %d", m.QuotaMicros, m.PeriodMicros)
}
