package service_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service"
)

// in is the fleet for a test within the test.
func (f *fleet) in(t *testing.T) *fleet {
	g := *f
	g.t = t
	return &g
}

// card is a runner's, as it is in the bucket.
func (f *fleet) card(runner string) (card map[string]any) {
	f.t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		f.t.Fatal(err)
	}
	cards, err := js.KeyValue("runner_fleet")
	if err != nil {
		f.t.Fatal(err)
	}
	entry, err := cards.Get(runner)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := json.Unmarshal(entry.Value(), &card); err != nil {
		f.t.Fatal(err)
	}
	return card
}

// needIsolation skips a test where the runner's card doesn't list a level. The
// runner must be a curious one.
func (f *fleet) needIsolation(level string) {
	f.t.Helper()
	card := f.card("web1")
	for _, l := range card["isolation"].([]any) {
		if l == level {
			return
		}
	}
	f.t.Skipf("this host has no isolation %s: %v", level, card["missing"])
}

// holds says whether limits of a cgroup controller are held here.
func (f *fleet) holds(controller string) bool {
	limit := map[string]string{"cpu": "cpuMax", "memory": "memoryMax", "io": "ioMax", "pids": "pidsMax"}[controller]
	return !strings.Contains(fmt.Sprint(f.card("web1")["missing"]), limit)
}

// What the main process leaves behind has used what it has used.
func TestUsageOfWhatIsLeft(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{NoCgroup: true})
	for _, level := range []string{"standard", "strict"} {
		t.Run(level, func(t *testing.T) {
			g := f.in(t)
			g.needIsolation(level)
			got := g.run(`{"commands":["(trap '' TERM; while :; do :; done) & wait"],"timeout":"1s","isolation":"` + level + `"}`)
			if used := g.record(got.id)["cpuTime"].(float64); used < 0.1 {
				t.Errorf("after a second of work, cpuTime is %v", used)
			}
		})
	}
}

// What a task can see and do at each level.
func TestIsolation(t *testing.T) {
	if os.Getuid() == 0 {
		t.Setenv("CANARY", "of the runner") // the environment that is not passed on
	}
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	for _, level := range []string{"standard", "strict"} {
		t.Run(level, func(t *testing.T) {
			g := f.in(t)
			g.needIsolation(level)
			is := `,"isolation":"` + level + `"`
			for _, c := range []struct{ name, task, want string }{
				{"commands", `{"commands":["echo out; pwd"]` + is + `}`, "out\n/tmp\n"},
				{"argv and stdin", `{"argv":["cat"],"stdin":"aW4="` + is + `}`, "in"},
				{"a script", strings.Replace(fileTask([]byte("#!/bin/bash -e\necho script $X $(stat -c %a $0); cd $(dirname $0); ls; touch $0.new 2>/dev/null || echo read-only"), false), "{", `{"isolation":"`+level+`","params":[{"name":"X","value":"x"}],`, 1), "script x 700\nscript\nread-only\n"},
				{"not the runner's environment", `{"commands":["echo \"[$CANARY]\""]` + is + `}`, "[]\n"},
				{"few processes", `{"commands":["test $(ls /proc | grep -c '^[0-9]') -lt 10"]` + is + `}`, ""},
				{"a /tmp of its own", `{"commands":["ls -A /tmp; touch /tmp/x && ls -A /tmp"]` + is + `}`, "x\n"},
				{"no mount", `{"commands":["mount -t tmpfs none /tmp 2>/dev/null || echo no"]` + is + `}`, "no\n"},
				{"the runner's data is hidden", `{"commands":["ls -A ` + f.dataDir + ` 2>/dev/null; true"]` + is + `}`, ""},
			} {
				t.Run(c.name, func(t *testing.T) {
					g := f.in(t)
					got := g.run(c.task)
					if got.stdout != c.want || got.end.ExitCode != 0 || got.end.State != "COMPLETE" {
						t.Errorf("got %q %q %+v, want %q", got.stdout, got.stderr, got.end.End, c.want)
					}
				})
			}
			if got := g.run(`{"argv":["/no/such"]` + is + `}`); got.end.State != "FAILED" || !strings.Contains(got.end.Error, "no such program") {
				t.Errorf("got %+v", got.end.End)
			}
			if got := g.run(`{"commands":["kill -9 $$"]` + is + `}`); got.end.Signal != "SIGKILL" || got.end.Reason != "signal" {
				t.Errorf("got %+v", got.end.End)
			}
			if got := g.run(`{"commands":["sleep 1000 & echo go; sleep 1000"],"timeout":"300ms"` + is + `}`); got.end.State != "TIMEDOUT" || got.stdout != "go\n" {
				t.Errorf("got %q %+v", got.stdout, got.end.End)
			}
		})
	}
}

// The network belongs to the level, and is given back to a strict run that asks.
func TestIsolationNetwork(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	f.needIsolation("strict")
	interfaces := `{"commands":["tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '"]%s}`
	host := f.run(fmt.Sprintf(interfaces, "")).stdout
	for more, want := range map[string]string{
		`,"isolation":"standard"`:              host,
		`,"isolation":"strict"`:                "lo ",
		`,"isolation":"strict","network":true`: host,
	} {
		if got := f.run(fmt.Sprintf(interfaces, more)); got.stdout != want {
			t.Errorf("%s: sees %q %q, want %q", more, got.stdout, got.stderr, want)
		}
	}
}

// An isolated run is somebody, and never root.
func TestIsolationUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	for _, level := range []string{"standard", "strict"} {
		f.needIsolation(level)
		got := f.run(`{"commands":["id -u"],"isolation":"` + level + `"}`)
		if got.stdout == "0\n" || got.stdout == "" {
			t.Errorf("%s: runs as %q %+v", level, got.stdout, got.end.End)
		}
		task := strings.Replace(fileTask([]byte("#!/bin/bash\nid -un"), false), "{", `{"user":"nobody","isolation":"`+level+`",`, 1)
		if got := f.run(task); got.stdout != "nobody\n" {
			t.Errorf("%s: as nobody got %q %q %+v", level, got.stdout, got.stderr, got.end.End)
		}
		for _, root := range []string{"root", "0"} {
			f.refused(400, "spec.task.user", "runner.task.any", `{"kind":"runner","spec":{"task":{"commands":["id -u"],"user":"`+root+`","isolation":"`+level+`"}}}`)
		}
	}
}

// A run is not let into what the runner keeps for itself by naming it as its directory.
func TestIsolatedDirIsNotTheRunners(t *testing.T) {
	f := newFleet(t)
	f.curious = true
	f.start(service.Config{})
	for _, level := range []string{"standard", "strict"} {
		f.needIsolation(level)
		for _, dir := range []string{f.dataDir, f.dataDir + "/spool", f.dataDir + "/spool/.."} {
			got := f.run(fmt.Sprintf(`{"argv":["ls"],"dir":%q,"isolation":%q}`, dir, level))
			if got.end.State != "FAILED" || !strings.Contains(got.end.Error, "the runner's own") {
				t.Errorf("%s in %s: got %q %+v", level, dir, got.stdout, got.end.End)
			}
		}
		if got := f.run(fmt.Sprintf(`{"commands":["ls -A %s | wc -l; echo $HOME"],"isolation":%q}`, f.dataDir, level)); got.stdout != "0\n/tmp\n" {
			t.Errorf("%s: got %q %q", level, got.stdout, got.stderr)
		}
	}
}
