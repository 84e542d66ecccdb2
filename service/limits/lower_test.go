package limits_test

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service/limits"
)

func parse(t testing.TB, text limits.Text) limits.Set {
	t.Helper()
	set, err := text.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Another spelling of more never gets past a maximum: what the kernel is told is compared, and not
// how it was written.
func TestNoSpellingIsAboveTheMaximum(t *testing.T) {
	for _, row := range []struct{ limit, asked, most string }{
		{"ioMax", "8:16 rbps=10\n8:16 rbps=max", "8:16 rbps=1000"},
		{"ioMax", "08:16 rbps=9999", "8:16 rbps=1000"},
		{"ioMax", "8:016 rbps=9999", "8:16 rbps=1000"},
		{"ioMax", "8:16 rbps=max", "8:16 rbps=1000"},
		{"ioMax", "8:16 wbps=1", "8:16 rbps=1000"},
		{"ioMax", "8:0 rbps=1", "8:16 rbps=1000"},
		{"ioMax", "8:16 rbps=1,8:16 rbps=1G", "8:16 rbps=1000"},
		{"ioMax", "8:16 rbps=1;8:0 riops=4\n8:16 rbps=unlimited", "8:16 rbps=1000 wbps=5"},
		{"ioMax", "8:16 rbps=1 rbps=max", "8:16 rbps=1000\n8:16 wbps=7"},
		{"cpuMax", "max", "50000 100000"},
		{"cpuMax", "max 1000000", "50000"},
		{"cpuMax", "\t600 1000 ", "50000 100000"},
		{"cpuMax", "500001 1000000", "50000 100000"},
		{"memoryMax", "max", "64M"},
		{"memoryMax", "unlimited", "64M"},
		{"memoryMax", "65MiB", "64M"},
		{"memoryMax", "000000067108865", "64MB"},
		{"pidsMax", "max", "10"},
		{"pidsMax", "00011", "10"},
		{"cpuWeight", "101", "50"},
		{"cpuWeight", "", "50"},
		{"cpuTime", "1h", "60s"},
		{"cpuTime", "60001ms", "60s"},
		{"wallTime", "max", "60s"},
		{"fileSize", "unlimited", "0"},
		{"core", "max", "0"},
		{"openFiles", "unlimited", "50"},
		{"stack", "", "8M"},
		{"nproc", "", "8"},
		{"outputBytes", "1P", "1000"},
	} {
		low, _ := parse(t, limits.Text{row.limit: row.asked}).Lower(parse(t, limits.Text{row.limit: row.most}))
		if err := exceeds(low, parse(t, limits.Text{row.limit: row.most})); err != nil {
			t.Errorf("%s %q, maximum %q: %v", row.limit, row.asked, row.most, err)
		}
	}
}

// A limit is written as it was meant: several lines of a device are one, and what was not named is
// not touched.
func TestWritten(t *testing.T) {
	for _, row := range []struct {
		text limits.Text
		want []limits.Setting
	}{
		{limits.Text{"ioMax": "8:16 rbps=1000\n8:16 wbps=1000"}, []limits.Setting{{"io.max", "8:16 rbps=1000 wbps=1000"}}},
		{limits.Text{"ioMax": "8:16 rbps=1K, 253:0 wiops=5;"}, []limits.Setting{{"io.max", "8:16 rbps=1024"}, {"io.max", "253:0 wiops=5"}}},
		{limits.Text{"ioMax": "8:16 rbps=max"}, nil},
		{limits.Text{"cpuMax": "200 1000"}, []limits.Setting{{"cpu.max", "1000 5000"}}},
		{limits.Text{"cpuMax": "max 100000", "memoryMax": "max", "pidsMax": "max"}, nil},
		{limits.Text{"memoryMax": "64MiB"}, []limits.Setting{{"memory.max", "67108864"}, {"memory.oom.group", "1"}, {"memory.swap.max", "0"}}},
		{limits.Text{"cpuWeight": "7", "pidsMax": "3"}, []limits.Setting{{"cpu.weight", "7"}, {"pids.max", "3"}}},
	} {
		if d := cmp.Diff(row.want, parse(t, row.text).Cgroup()); d != "" {
			t.Errorf("%v: want -, got +\n%s", row.text, d)
		}
	}
	rlimits := parse(t, limits.Text{"cpuTime": "1500ms", "core": "0", "fileSize": "max"}).Rlimits()
	if d := cmp.Diff([]limits.Rlimit{{"cpu", 2}, {"core", 0}}, rlimits); d != "" {
		t.Errorf("want -, got +\n%s", d)
	}
}

func TestBadTexts(t *testing.T) {
	for limit, texts := range map[string][]string{
		"memoryMax": {"64 M", " 64M", "1e9", "+5", "-1", "1.5G", "0x10", "0", "M", "1KK", "1iM", "64X", "8192P", "9223372036854775808", "MAX", "٣"},
		"cpuMax":    {"0", "fast", "1 2 3", "200 10", "1 10000", "-1 1000", "+5000", "5000 1000001", " "},
		"ioMax":     {"sda rbps=1", "8:16", "8:16 rbps", "8:16 rbps=0", "8:16 fast=1", "8:16 rbps=-1", "8 rbps=1", "8:-1 rbps=1", "4096:0 rbps=1", ",", "max"},
		"pidsMax":   {"0", "-1", "+1", "1e3", "99999999999999999999", "1K"},
		"cpuWeight": {"0", "10001"},
		"openFiles": {"2"},
		"cpuTime":   {"90", "0", "0s", "-1s", "999us", "1"},
		"wallTime":  {"5", "0s", "-5s", "+0"},
		"diskMax":   {"1"},
	} {
		for _, text := range texts {
			if set, err := (limits.Text{limit: text}).Parse(); err == nil || !strings.HasPrefix(err.Error(), "limits."+limit+": ") {
				t.Errorf("%s %q: got %v, %v", limit, text, set, err)
			}
		}
	}
}

// What was named counts over a default, also if it is "max".
func TestOver(t *testing.T) {
	got := parse(t, limits.Text{"memoryMax": "max", "core": "5"}).Over(parse(t, limits.Text{"memoryMax": "1M", "stack": "8M"}))
	if d := cmp.Diff(limits.Text{"memoryMax": "max", "core": "5", "stack": "8388608"}, got.Text()); d != "" || got.Has("memoryMax") {
		t.Errorf("want -, got +\n%s", d)
	}
	if low, changes := got.Lower(parse(t, limits.Text{"memoryMax": "2M", "cpuWeight": "500"})); len(changes) != 1 || low.Bytes("memoryMax") != 2<<20 || low.Has("cpuWeight") {
		t.Errorf("got %v, %v", low.Text(), changes)
	}
}

// FuzzLower: whatever is accepted and lowered, the kernel is told no more than the maximum, and what
// is written is read to the same again.
func FuzzLower(f *testing.F) {
	for _, name := range limits.Names() {
		for _, asked := range []string{"max", "64M", "1", "9223372036854775807", "1s", "200 1000", "8:16 rbps=10\n8:16 rbps=max,08:16 wbps=max"} {
			for _, most := range []string{"50M", "7", "2s", "50000 100000", "8:16 rbps=1000 wiops=5"} {
				f.Add(name, asked, most)
			}
		}
	}
	f.Fuzz(func(t *testing.T, name, asked, most string) {
		top, err := limits.Text{name: most}.Parse()
		if err != nil {
			return
		}
		set, err := limits.Text{name: asked}.Parse()
		if err != nil {
			return
		}
		low, _ := set.Lower(top)
		if err := exceeds(low, top); err != nil {
			t.Errorf("%s %q, maximum %q: %v", name, asked, most, err)
		}
		again, err := low.Text().Parse()
		if err != nil || !cmp.Equal(again.Text(), low.Text()) {
			t.Errorf("%s %q is written %q and read %v, %v", name, asked, low.Text(), again.Text(), err)
		}
		if twice, changes := low.Lower(top); len(changes) > 0 || !cmp.Equal(twice.Text(), low.Text()) {
			t.Errorf("%s %q: lowered again: %v", name, asked, changes)
		}
	})
}

// exceeds says what of a set is above a maximum, by what the kernel and the runner are told.
func exceeds(low, most limits.Set) error {
	got, want := told(low), told(most)
	for what, top := range want {
		value, named := got[what]
		if !named && what == "cpu.weight" {
			value, named = big.NewRat(100, 1), true
		}
		if !named || value.Cmp(top) > 0 {
			return fmt.Errorf("%s is %v, maximum %v", what, value, top)
		}
	}
	return nil
}

// told reads what a set makes of itself as the kernel reads it: the last word counts.
func told(set limits.Set) map[string]*big.Rat {
	all := map[string]*big.Rat{}
	for _, one := range set.Cgroup() {
		fields := strings.Fields(one.Value)
		switch one.File {
		case "io.max":
			for _, f := range fields[1:] {
				key, rate, _ := strings.Cut(f, "=")
				all[fields[0]+" "+key] = number(rate)
			}
		case "cpu.max":
			all[one.File] = new(big.Rat).Quo(number(fields[0]), number(fields[1]))
		default:
			all[one.File] = number(one.Value)
		}
	}
	for _, one := range set.Rlimits() {
		all[one.Resource] = new(big.Rat).SetUint64(one.Max)
	}
	for _, name := range []string{limits.OutputBytes, limits.WallTime, limits.CPUTime} {
		if n, bound := set.Number(name); bound {
			all[name] = big.NewRat(n, 1)
		}
	}
	for what, value := range all { // no bound
		if value.Cmp(big.NewRat(math.MaxInt64, 1)) >= 0 {
			delete(all, what)
		}
	}
	return all
}

func number(s string) *big.Rat {
	if s == "max" {
		return big.NewRat(math.MaxInt64, 1)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(s + " is nothing that the kernel reads")
	}
	return big.NewRat(n, 1)
}
