package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/rig"
)

// The tests here need real controllers, and a machine that nobody would miss:
// tests/vm/run gives them one. It has no bash, so tasks are argv.

func vmFleet(t *testing.T, cfg service.Config) *fleet {
	t.Helper()
	if text, err := os.ReadFile("/proc/cmdline"); err != nil || !slices.Contains(strings.Fields(string(text)), "runnel-vm") {
		t.Skip("runs only in the virtual machine of tests/vm/run")
	}
	for _, dir := range []string{"/var/tmp", "/var/lib", "/run", "/home", "/usr/bin"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleet(t)
	f.curious, f.patience = true, time.Minute
	f.start(cfg)
	return f
}

// shell is a task of the machine's own shell.
func shell(script, more string) string {
	return fmt.Sprintf(`{"argv":["/bin/sh","-c",%s]%s}`, quote(script), more)
}

const (
	hog       = `a=x; while :; do a=$a$a; done`
	hogMemory = 32 << 20
)

// What a controller does to a run is said in its record and its log.
func TestVMLimitsOnTheWire(t *testing.T) {
	all := vmFleet(t, service.Config{})
	for _, level := range []string{"none", "standard", "strict"} {
		t.Run(level, func(t *testing.T) {
			f := all.in(t)
			limits := func(l string) string { return fmt.Sprintf(`,"isolation":%q,"limits":{%s}`, level, l) }

			got := f.run(shell(hog, limits(`"memoryMax":"32M"`)))
			record := f.record(got.id)
			if got.end.State != "COMPLETE" || got.end.Reason != "oom" || record["reason"] != "oom" {
				t.Errorf("a hog: got %+v, record %v", got.end.End, record)
			}
			if peak := record["peakMemory"].(float64); peak < hogMemory/2 || peak > hogMemory {
				t.Errorf("a hog: its peak was %v bytes", peak)
			}

			got = f.run(shell(`i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo all started`, limits(`"pidsMax":20`)))
			if got.end.State != "COMPLETE" || got.end.ExitCode == 0 || strings.Contains(got.stdout, "all") || !strings.Contains(got.stderr, "fork") {
				t.Errorf("a hundred processes of twenty: got %+v, %q, %q", got.end.End, got.stdout, got.stderr)
			}

			got = f.run(shell(`while :; do :; done`, `,"timeout":"3s"`+limits(`"cpuMax":"20000 100000"`)))
			record = f.record(got.id)
			if used := record["cpuTime"].(float64); got.end.State != "TIMEDOUT" || used < 0.1 || used > 1.2 {
				t.Errorf("a fifth of a processor for 3 s: got %+v, %v s used", got.end.End, used)
			}

			if got := f.run(shell(`echo fine`, limits(`"memoryMax":"64M","pidsMax":10,"cpuWeight":50`))); got.stdout != "fine\n" {
				t.Errorf("then got %q, %+v", got.stdout, got.end.End)
			}
		})
	}
	rig.Eventually(all.t, "no leaf is left", func() bool { return len(all.leftovers().Leaves) == 0 })
}

func TestVMDiskOnTheWire(t *testing.T) {
	f := vmFleet(t, service.Config{})
	const disk = "/mnt/d"
	var stat unix.Stat_t
	if err := unix.Stat(disk, &stat); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(disk, "written")
	write := fmt.Sprintf(`dd if=/dev/zero of=%s bs=1M count=4 oflag=direct conv=fsync`, file)
	took := func(limits string) time.Duration {
		got := f.run(shell(write, limits))
		if got.end.ExitCode != 0 || got.end.State != "COMPLETE" {
			t.Fatalf("got %+v, %q", got.end.End, got.stderr)
		}
		record, times := f.record(got.id), [2]time.Time{}
		for i, field := range []string{"started", "ended"} {
			var err error
			if times[i], err = time.Parse(time.RFC3339Nano, record[field].(string)); err != nil {
				t.Fatal(err)
			}
		}
		return times[1].Sub(times[0])
	}
	free := took("")
	held := took(fmt.Sprintf(`,"limits":{"ioMax":"%d:%d wbps=1048576"}`, unix.Major(stat.Dev), unix.Minor(stat.Dev)))
	if held < 2*time.Second || held < 2*free {
		t.Errorf("4 MiB at 1 MiB/s took %v, without a limit %v", held, free)
	}
}

// The policy's limits are those of a task that names none, or more.
func TestVMPolicyOnTheWire(t *testing.T) {
	most := limitsOf(t, limits.Text{limits.MemoryMax: strconv.Itoa(hogMemory), limits.PidsMax: "20"})
	f := vmFleet(t, service.Config{Settings: service.Settings{Policy: &policy.Policy{Limits: policy.LimitRules{Max: most}}}})
	for _, more := range []string{``, `,"limits":{"memoryMax":"400M"}`, `,"limits":{"memoryMax":"10M"}`} {
		got := f.run(shell(hog, more))
		if peak := f.record(got.id)["peakMemory"].(float64); got.end.Reason != "oom" || peak > hogMemory {
			t.Errorf("%q: got %+v, a peak of %v bytes", more, got.end.End, peak)
		}
	}
	if got := f.run(shell(`i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo all started`, `,"limits":{"pidsMax":50}`)); strings.Contains(got.stdout, "all") {
		t.Errorf("a hundred processes of twenty: got %+v, %q", got.end.End, got.stdout)
	}
}

// The clock jumps by hours while a run goes on: its timeout, its limits and the
// runner's life are counted by a clock that does not.
func TestVMClockSteps(t *testing.T) {
	f := vmFleet(t, service.Config{CardInterval: 100 * time.Millisecond, OfflineAfter: time.Minute, LostAfter: 2 * time.Minute})
	step := func(by time.Duration) {
		now := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
		if err := unix.Settimeofday(&now); err != nil {
			t.Fatal(err)
		}
	}
	for i, by := range []time.Duration{6 * time.Hour, -12 * time.Hour, 6 * time.Hour} {
		c := f.two()
		id := fmt.Sprint("steps", i)
		c[0].start("any", id, shell(`sleep 3; echo done`, `,"timeout":"1m","limits":{"wallTime":"1m"}`))
		step(by)
		c[1].start("any", id+"-late", shell(`sleep 1000`, `,"timeout":"2s","grace":"0s"`))
		began := time.Now()
		if run := c[0].final(id); run["state"] != "COMPLETE" || run["lines"] != 1.0 {
			t.Errorf("a step by %s: got %v", by, run)
		}
		if run := c[1].final(id + "-late"); run["state"] != "TIMEDOUT" {
			t.Errorf("a step by %s, the timeout: got %v", by, run)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("a step by %s: the timeout of 2 s took %s", by, took)
		}
		reply := f.ask("runner.query.any", `{"kind":"runner","spec":{"query":{"all":true}}}`)
		if strings.Contains(string(reply.Data), `"lost"`) {
			t.Errorf("a step by %s: a run was lost: %s", by, reply.Data)
		}
	}
}

// What leaves its session is in the leaf all the same, and ends with the run.
func TestVMDaemonOnTheWire(t *testing.T) {
	f := vmFleet(t, service.Config{})
	for _, ending := range []string{`exit 0`, `sleep 1000`} {
		got := f.run(shell(`(setsid env -i sleep 4321 >/dev/null 2>&1 &); `+ending, `,"timeout":"1s","grace":"100ms"`))
		f.record(got.id)
		rig.Eventually(f.t, "the daemon is gone", func() bool {
			found, err := filepath.Glob("/proc/[0-9]*/cmdline")
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(found, func(path string) bool {
				text, _ := os.ReadFile(path) // it may end meanwhile
				return strings.Contains(string(text), "4321")
			})
		})
	}
}
