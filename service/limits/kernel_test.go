package limits_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/limits"
)

// What the kernel is told of each limit: files of a cgroup, and resource limits.
func TestWhatTheKernelIsTold(t *testing.T) {
	for _, c := range []struct {
		text    limits.Text
		cgroup  string
		rlimits string
		needs   string
	}{
		{limits.Text{}, "", "", ""},
		{limits.Text{"cpuMax": "50000 100000"}, "cpu.max=50000 100000", "", "cpu"},
		{limits.Text{"cpuWeight": "7"}, "cpu.weight=7", "", "cpu"},
		{limits.Text{"memoryMax": "64M"}, "memory.max=67108864 memory.oom.group=1 memory.swap.max=0", "", "memory"},
		{limits.Text{"pidsMax": "5"}, "pids.max=5", "", "pids"},
		{limits.Text{"ioMax": "8:16 rbps=5,8:0 wiops=6"}, "io.max=8:0 wiops=6 io.max=8:16 rbps=5", "", "io"},
		{limits.Text{"cpuTime": "1500ms"}, "", "cpu=2", ""}, // whole seconds, rounded up
		{limits.Text{"fileSize": "0", "core": "1K"}, "", "fsize=0 core=1024", ""},
		{limits.Text{"openFiles": "50", "nproc": "8", "stack": "8M"}, "", "nofile=50 stack=8388608 nproc=8", ""},
		{limits.Text{"wallTime": "1m", "outputBytes": "1M"}, "", "", ""}, // held by the runner
		{limits.Text{"memoryMax": "max", "pidsMax": "max", "stack": "max"}, "", "", ""},
	} {
		set := parse(t, c.text)
		var cgroup, rlimits []string
		for _, s := range set.Cgroup() {
			cgroup = append(cgroup, s.File+"="+s.Value)
		}
		for _, r := range set.Rlimits() {
			rlimits = append(rlimits, fmt.Sprintf("%s=%d", r.Resource, r.Max))
		}
		if strings.HasPrefix(c.cgroup, "io.") { // the order of devices is nobody's business
			slices.Sort(cgroup)
		}
		if got := strings.Join(cgroup, " "); got != c.cgroup {
			t.Errorf("%v: cgroup has %q, want %q", c.text, got, c.cgroup)
		}
		if got := strings.Join(rlimits, " "); got != c.rlimits {
			t.Errorf("%v: resource limits are %q, want %q", c.text, got, c.rlimits)
		}
		var needs []string
		for controller := range set.Needs() {
			needs = append(needs, controller)
		}
		if got := strings.Join(needs, " "); got != c.needs {
			t.Errorf("%v: needs %q, want %q", c.text, got, c.needs)
		}
	}
}

func TestValuesOfASet(t *testing.T) {
	set := parse(t, limits.Text{"wallTime": "90s", "outputBytes": "64k", "nproc": "max"})
	if set.Duration("wallTime") != 90*time.Second || set.Duration("cpuTime") != 0 || set.Bytes("outputBytes") != 64<<10 || set.Bytes("stack") != 0 {
		t.Errorf("got %s, %d", set.Duration("wallTime"), set.Bytes("outputBytes"))
	}
	if !set.NamesResource("nproc") || set.NamesResource("stack") || set.Has("nproc") {
		t.Error("\"max\" names a resource, and bounds nothing")
	}
}

// The table is whole: names, flags and usages are there, once each, and every row can be parsed.
func TestTableIsWhole(t *testing.T) {
	flags := map[string]bool{}
	for _, row := range limits.Rows() {
		if row.Name == "" || row.Flag == "" || row.Usage == "" || flags[row.Flag] {
			t.Errorf("row %+v lacks something, or is there twice", row)
		}
		flags[row.Flag] = true
		if (row.Controller != "") != (row.File != "") {
			t.Errorf("%s has controller %q and file %q", row.Name, row.Controller, row.File)
		}
		if row.Controller != "" && row.Resource != "" {
			t.Errorf("%s is held twice", row.Name)
		}
		if set, err := (limits.Text{row.Name: "max"}).Parse(); row.Name != limits.CPUWeight && row.Name != limits.IOMax && (err != nil || set.Has(row.Name)) {
			t.Errorf("%s: max is read as %v, %v", row.Name, set, err)
		}
		if _, err := (limits.Text{row.Name: "rubbish"}).Parse(); err == nil || !strings.HasPrefix(err.Error(), "limits."+row.Name+": ") {
			t.Errorf("%s: got %v of rubbish", row.Name, err)
		}
	}
	if len(limits.Names()) != len(flags) {
		t.Errorf("got %d names of %d rows", len(limits.Names()), len(flags))
	}
}
