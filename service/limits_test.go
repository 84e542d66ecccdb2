package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/policy"
)

// Bad values are a 400 that names the field, before anything starts.
func TestBadLimits(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for _, c := range []struct{ limit, value string }{
		{"cpuMax", `"fast"`}, {"cpuMax", `"0 1000"`}, {"cpuMax", `"1 2 3"`}, {"cpuMax", `"200 10"`},
		{"memoryMax", `"64 apples"`}, {"memoryMax", `-1`}, {"memoryMax", `1.5`}, {"memoryMax", `0`}, {"memoryMax", `true`}, {"memoryMax", `[1]`}, {"memoryMax", `"99999999999999999999"`}, {"memoryMax", `1e300`},
		{"ioMax", `"sda rbps=1"`}, {"ioMax", `"8:16"`}, {"ioMax", `"8:16 fast=1"`}, {"ioMax", `"8:16 rbps=0"`},
		{"pidsMax", `-1`}, {"pidsMax", `100000000`}, {"cpuWeight", `-1`}, {"cpuWeight", `10001`},
		{"cpuTime", `"90"`}, {"cpuTime", `"-1s"`}, {"fileSize", `"1Q"`}, {"openFiles", `-1`}, {"openFiles", `2`},
		{"stack", `"x"`}, {"core", `-5`}, {"nproc", `-1`}, {"outputBytes", `"0"`}, {"outputBytes", `"many"`}, {"wallTime", `"5"`}, {"wallTime", `"-5s"`}, {"wallTime", `"0s"`},
		{"pidsMax", `0`}, {"cpuWeight", `0`}, {"openFiles", `0`}, {"nproc", `0`},
	} {
		f.refused(400, "limits."+c.limit, "runner.task.any", fmt.Sprintf(`{"kind":"runner","spec":{"task":{"argv":["true"],"limits":{%q:%s}}}}`, c.limit, c.value))
	}
	f.refused(400, "unknown", "runner.task.any", `{"kind":"runner","spec":{"task":{"argv":["true"],"limits":{"diskMax":1}}}}`)
	if got := f.run(`{"argv":["echo","served"],"limits":{"memoryMax":"","fileSize":"1m","core":"0"}}`); got.stdout != "served\n" {
		t.Errorf("then got %q", got.stdout)
	}
}

// A policy that this host can't hold runs to lets those run that ask for nothing.
func TestPolicyThatTheHostCannotHold(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{NoCgroup: true, Settings: service.Settings{Policy: &policy.Policy{Limits: policy.LimitRules{
		Default: limitsOf(t, limits.Text{limits.CPUMax: "50000 100000", limits.IOMax: "8:16 rbps=1000"}), Max: limitsOf(t, limits.Text{limits.MemoryMax: "1G", limits.PidsMax: "10"}),
	}}}})
	if got := f.run(`{"argv":["echo","served"]}`); got.stdout != "served\n" {
		t.Errorf("got %+v", got)
	}
	f.refused(400, "limit pidsMax", "runner.task.any", `{"kind":"runner","spec":{"task":{"argv":["true"],"limits":{"pidsMax":100}}}}`)
}

// What this host can't hold is refused by name when a task asks for it, and is
// in the card; other tasks run.
func TestLimitsThatAreMissing(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{NoCgroup: true})
	missing := fmt.Sprint(f.card("web1")["missing"])
	for limit, value := range map[string]string{
		"cpuMax": `"50000 100000"`, "ioMax": `"8:16 rbps=102400"`, "pidsMax": `10`, "cpuWeight": `50`,
	} {
		for _, language := range []string{"", `,"language":{"name":"bash"},"file":{"content":"dHJ1ZQ=="}`} {
			f.refused(400, "limit "+limit, "runner.task.any", fmt.Sprintf(`{"kind":"runner","spec":{"task":{"limits":{%q:%s}%s}}}`, limit, value, orArgv(language)))
		}
		if !strings.Contains(missing, limit) {
			t.Errorf("the card's missing is %s, without %s", missing, limit)
		}
	}
	if got := f.run(`{"argv":["echo","served"],"limits":{"cpuMax":"max","memoryMax":"max"}}`); got.stdout != "served\n" {
		t.Errorf("then got %q", got.stdout)
	}
}

// Memory is held without a controller too, and the card says how.
func TestMemoryByLooking(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{NoCgroup: true})
	if missing := fmt.Sprint(f.card("web1")["missing"]); !strings.Contains(missing, "no memory controller: that limit is held by sampling every 100 ms") {
		t.Errorf("the card's missing is %s", missing)
	}
	got := f.run(`{"argv":["perl","-e","$_ = 'x' x 3e8; sleep 60"],"limits":{"memoryMax":"100M"}}`)
	if got.end.State != "COMPLETE" || got.end.Reason != "oom" {
		t.Errorf("got %+v", got.end.End)
	}
}

func orArgv(language string) string {
	if language == "" {
		return `,"argv":["true"]`
	}
	return language
}

// Limits that need no cgroup hold without isolation, and within it.
func TestLimitsOfEachProcess(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	levels := []string{"none"}
	for _, l := range f.card("web1")["isolation"].([]any)[1:] {
		levels = append(levels, l.(string))
	}
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			g := f.in(t)
			for _, c := range []struct{ limits, command, want string }{
				{`"openFiles":20`, "ulimit -n", "20\n"},
				{`"stack":"1M"`, "ulimit -s", "1024\n"},
				{`"core":0`, "ulimit -c", "0\n"},
				{`"nproc":37`, "ulimit -u", "37\n"},
				{`"fileSize":4096,"cpuTime":"7s"`, "ulimit -t; head -c 5000 /dev/zero > /tmp/runnel-limit-$$; wc -c < /tmp/runnel-limit-$$; rm /tmp/runnel-limit-$$", "7\n4096\n"},
			} {
				got := g.run(fmt.Sprintf(`{"commands":[%s],"isolation":%q,"limits":{%s}}`, quote(c.command), level, c.limits))
				if got.stdout != c.want || got.end.State != "COMPLETE" {
					t.Errorf("%s: got %q %q %+v, want %q", c.limits, got.stdout, got.stderr, got.end.End, c.want)
				}
			}
			got := g.run(fmt.Sprintf(`{"commands":["while :; do :; done"],"isolation":%q,"limits":{"cpuTime":"1s"}}`, level))
			// The limit is held by the kernel's ticks, too, the record has the exact time: where others take the processor in the middle of a tick, it is less.
			if record := g.record(got.id); got.end.Reason != "cpu-limit" || record["cpuTime"].(float64) < 0.3 {
				t.Errorf("cpuTime: got %+v, record %v", got.end.End, record)
			}
		})
	}
}

// Output that is too much ends the run; what came before is kept, to the byte.
func TestOutputBytes(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for _, c := range []struct{ limit, command string }{
		{`1000`, "yes"},
		{`"1000"`, "yes >&2"},
		{`"1K"`, "yes & yes"},
		{`1`, "trap '' TERM; while :; do echo x; done"},
	} {
		got := f.run(fmt.Sprintf(`{"commands":[%s],"limits":{"outputBytes":%s}}`, quote(c.command), c.limit))
		want := map[string]int{`1000`: 1000, `"1000"`: 1000, `"1K"`: 1024, `1`: 1}[c.limit]
		if n := len(got.stdout) + len(got.stderr); n != want || got.end.State != "COMPLETE" || got.end.Reason != "output-limit" {
			t.Errorf("%s: got %d bytes, %+v", c.command, n, got.end.End)
		}
		if record := f.record(got.id); record["reason"] != "output-limit" || record["bytes"] != float64(want) || record["logComplete"] != true {
			t.Errorf("%s: the record is %v", c.command, record)
		}
	}
	if got := f.run(`{"commands":["printf 12345"],"limits":{"outputBytes":5}}`); got.stdout != "12345" || got.end.Reason != "exit" {
		t.Errorf("just as much: got %q %+v", got.stdout, got.end.End)
	}
}

// The policy's limits hold where a task names none or more, and its rules are
// named when they refuse.
func TestPolicyOfLimits(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{Policy: &policy.Policy{
		Limits: policy.LimitRules{
			Default: limitsOf(t, limits.Text{limits.OutputBytes: "100"}),
			Max:     limitsOf(t, limits.Text{limits.OutputBytes: "1000", limits.WallTime: "5s", limits.OpenFiles: "50"}),
		},
		Isolation: policy.IsolationRules{Allowed: []string{"none"}},
		Languages: []string{"python3"},
	}}})
	for more, want := range map[string]int{``: 100, `,"limits":{"outputBytes":10}`: 10, `,"limits":{"outputBytes":5000}`: 1000} {
		if got := f.run(`{"commands":["yes"]` + more + `}`); len(got.stdout) != want || got.end.Reason != "output-limit" {
			t.Errorf("%s: got %d bytes, want %d, %+v", more, len(got.stdout), want, got.end.End)
		}
	}
	if got := f.run(`{"commands":["ulimit -n; sleep 1000"],"timeout":"1h","limits":{"openFiles":60}}`); got.stdout != "50\n" || got.end.State != "TIMEDOUT" {
		t.Errorf("got %q %+v", got.stdout, got.end.End)
	}
	f.refused(403, "isolation.allowed", "runner.task.any", `{"kind":"runner","spec":{"task":{"argv":["true"],"isolation":"strict"}}}`)
	f.refused(403, "isolation.allowed", "runner.task.any", `{"kind":"runner","spec":{"task":`+codeTask("python3", "x", "")+`}}`)
	f.refused(403, "languages", "runner.task.any", `{"kind":"runner","spec":{"task":`+codeTask("sh", "x", `,"isolation":"none"`)+`}}`)
	got := f.run(codeTask("py", "print(6*7)", `,"isolation":"none"`))
	if got.stdout != "42\n" {
		t.Errorf("by an alias that is allowed: got %q %q %+v", got.stdout, got.stderr, got.end.End)
	}
}

// A hog is told from a plain kill, and the record has what it used.
func TestMemoryLimit(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	if !f.holds("memory") {
		t.Skip("this host holds no run to its memory")
	}
	got := f.run(`{"commands":["x=xxxxxxxx; while :; do x=$x$x; done"],"limits":{"memoryMax":"64M"}}`)
	if record := f.record(got.id); got.end.Reason != "oom" || got.end.Signal != "SIGKILL" || record["peakMemory"].(float64) < 32<<20 {
		t.Errorf("got %+v, record %v", got.end.End, record)
	}
	if got := f.run(`{"commands":["kill -9 $$"],"limits":{"memoryMax":67108864}}`); got.end.Reason != "signal" {
		t.Errorf("a plain kill: got %+v", got.end.End)
	}
}

func limitsOf(t *testing.T, text limits.Text) limits.Set {
	t.Helper()
	set, err := text.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return set
}
