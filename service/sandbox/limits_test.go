package sandbox

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLimits(t *testing.T) {
	got, err := ParseLimits(LimitsText{CPUMax: "50000 100000", CPUWeight: "100", MemoryMax: "64M", IOMax: "8:16 rbps=102400 wiops=max", PidsMax: "20",
		CPUTime: "90s", FileSize: "1G", OpenFiles: "100", Stack: "8M", Core: "0", Nproc: "50"})
	want := Limits{CPU: CPUMax{50000, 100000}, CPUWeight: 100, MemoryMaxBytes: 64 << 20, IO: []IOMax{{Major: 8, Minor: 16, ReadBPS: 102400}}, PidsMax: 20,
		Rlimits: []Rlimit{{"cpu", 90}, {"fsize", 1 << 30}, {"nofile", 100}, {"stack", 8 << 20}, {"core", 0}, {"nproc", 50}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := ParseLimits(LimitsText{}); err != nil || !cmp.Equal(got, Limits{}) {
		t.Errorf("nothing is %+v, %v", got, err)
	}
}

func TestParseLimitsRefuses(t *testing.T) {
	for want, text := range map[string]LimitsText{
		"limits.cpuMax":    {CPUMax: "a lot"},
		"period":           {CPUMax: "1000 10"},
		"kernel can do":    {CPUMax: "1 10000"},
		"limits.cpuWeight": {CPUWeight: "0"},
		"more than 0":      {MemoryMax: "0"},
		"too big":          {MemoryMax: "99999999T"},
		"limits.memoryMax": {MemoryMax: "64MB"},
		"not a size":       {MemoryMax: "-1"},
		"limits.ioMax":     {IOMax: "sda rbps=1"},
		"rbps":             {IOMax: "8:0 speed=1"},
		"rate":             {IOMax: "8:0 rbps=0"},
		"limits.pidsMax":   {PidsMax: "1e3"},
		"whole seconds":    {CPUTime: "1500ms"},
		"limits.openFiles": {OpenFiles: "2"},
		"limits.nproc":     {Nproc: "0"},
		"limits.stack":     {Stack: "big"},
	} {
		if _, err := ParseLimits(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", text, err, want)
		}
	}
}

func TestCPUMaxIsScaled(t *testing.T) {
	for text, want := range map[string]string{"200 1000": "1000 5000", "50000": "50000 100000", "max 100000": "max", "max": "max", "300000 100000": "300000 100000"} {
		got, err := ParseCPUMax(text)
		if err != nil || got.String() != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}

// What is parsed and written is parsed to the same again, and never panics.
func FuzzParseLimits(f *testing.F) {
	for _, s := range []string{"200 1000", "max", "64M", "9223372036854775807", "8:16 rbps=102400", "8:16 rbps=1,8:0 wiops=max", "", " ", "1 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if cpu, err := ParseCPUMax(s); err == nil {
			if again, err := ParseCPUMax(cpu.String()); err != nil || again != cpu {
				t.Errorf("%q is %+v, but %q is %+v, %v", s, cpu, cpu, again, err)
			}
			if cpu.QuotaMicros != 0 && (cpu.QuotaMicros < minCPUMicros || cpu.PeriodMicros < minCPUMicros || cpu.PeriodMicros > maxCPUMicros) {
				t.Errorf("%q is %+v, which the kernel refuses", s, cpu)
			}
		}
		if n, err := ParseBytes(s); err == nil && n < 0 {
			t.Errorf("%q is %d bytes", s, n)
		}
		if list, err := ParseIOMax(s); err == nil {
			for _, one := range list {
				if again, err := ParseIOMax(one.String()); err != nil || len(again) != 1 || again[0] != one {
					t.Errorf("%q has %+v, which is %+v again, %v", s, one, again, err)
				}
			}
		}
		_, _ = ParseLimits(LimitsText{CPUMax: s, MemoryMax: s, IOMax: s, PidsMax: s, CPUWeight: s, CPUTime: s, FileSize: s, OpenFiles: s, Stack: s, Core: s, Nproc: s})
	})
}
