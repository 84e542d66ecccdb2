package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// trees are runs whose children try to outlive them; %s is what they sleep.
var trees = map[string]string{
	"plain":         `sleep %s`,
	"holds pipes":   `sleep %s & sleep %[1]s & wait`,
	"closes pipes":  `sleep %s >/dev/null 2>&1 & sleep %[1]s >/dev/null 2>&1 & wait`,
	"setsid":        `setsid sleep %s & setsid sleep %[1]s >/dev/null 2>&1 & wait`,
	"double fork":   `(setsid sh -c 'sleep %s & exec sleep %[1]s' &) ; sleep %[1]s`,
	"clears env":    `env -i setsid sleep %s & env -i sleep %[1]s & wait`,
	"ignores TERM":  `trap '' TERM; sleep %s & sleep %[1]s & while :; do wait; done`,
	"stops itself":  `sleep %s & kill -STOP $$; sleep %[1]s`,
	"stopped child": `sleep %s & kill -STOP $!; sleep %[1]s`,
	"many":          `for i in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'sleep %s; :' &) ; done; sleep %[1]s`,
}

// Whatever a run starts, nothing of it is left one second after its grace, with
// cgroups and without.
func TestAbortLeavesNoProcess(t *testing.T) {
	const grace = time.Second
	f := newFleet(t)
	f.start(service.Config{Name: "cgroup"})
	f.start(service.Config{Name: "scan", NoCgroup: true})
	for name, shell := range trees {
		for _, runner := range []string{"cgroup", "scan"} {
			t.Run(name+"/"+runner, func(t *testing.T) {
				c := f.two()
				id, mark := runner+"-"+strings.ReplaceAll(name, " ", "-"), mark()
				c[0].start("at."+runner, id, commands(fmt.Sprintf(shell, mark), `"grace":"1s"`))
				rig.Eventually(t, "it sleeps", func() bool { return len(processesWith(t, "sleep\x00"+mark)) > 0 })
				began := time.Now()
				got := together(c, func(c caller) heard { return c.abort("any", id, "20s") })
				took := time.Since(began)
				for _, h := range got {
					if h.run["state"] != "ABORTED" || h.run["reason"] != "aborted" || h.run["logComplete"] != true {
						t.Errorf("got %v", h)
					}
				}
				if left := processesWith(t, mark); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
				if took > grace+slack(time.Second) {
					t.Errorf("it took %s; a second and the grace is the rule", took)
				}
				if _, err := c[1].agrees(got[0].run); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Also what a run leaves behind by ending itself is gone when it is final.
func TestEndLeavesNoProcess(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "cgroup"})
	f.start(service.Config{Name: "scan", NoCgroup: true})
	c := f.two()
	for _, runner := range []string{"cgroup", "scan"} {
		mark := mark()
		c[0].start("at."+runner, runner, commands(fmt.Sprintf(`sleep %s & setsid sleep %[1]s & (sleep %[1]s >/dev/null 2>&1 &); echo started`, mark)))
		run := c[1].final(runner)
		if run["state"] != "COMPLETE" {
			t.Errorf("got %v", run)
		}
		if left := processesWith(t, mark); len(left) > 0 {
			t.Errorf("%s: left behind: %q", runner, left)
		}
		if l, err := c[0].agrees(run); err != nil || len(l.lines) != 1 {
			t.Errorf("%s: got %q, %v", runner, l.lines, err)
		}
	}
}

func TestAbortAnswers(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "a", Settings: service.Settings{Slots: 1}})
	f.start(service.Config{Name: "b"})
	c := f.two()
	dir := t.TempDir()
	each := func(what string, got [2]heard, good func(heard) bool) {
		t.Helper()
		for i, h := range got {
			if !good(h) {
				t.Errorf("%s: client %d got %v", what, i, h)
			}
		}
	}

	c[0].start("at.a", "stubborn", commands(`trap '' TERM; touch `+dir+`/ready; while :; do sleep 1; done`, `"grace":"1h"`))
	c[0].start("at.a", "waits", commands("touch "+dir+"/started"))
	rig.Eventually(t, "it ignores SIGTERM", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })

	each("not over yet", together(c, func(c caller) heard { return c.abort("any", "stubborn", "100ms") }), func(h heard) bool {
		return h.run["state"] == "RUNNING" && h.run["aborting"] == true
	})
	each("PENDING", together(c, func(c caller) heard { return c.abort("any", "waits", "20s") }), func(h heard) bool {
		return h.run["state"] == "ABORTED" && h.run["started"] == nil && h.run["logComplete"] == true
	})
	if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
		t.Error("an aborted PENDING run was started")
	}
	each("twice", together(c, func(c caller) heard { return c.abort("any", "waits", "2s") }), func(h heard) bool {
		return h.run["state"] == "ABORTED"
	})
	each("unknown", together(c, func(c caller) heard { return c.abort("any", "nope", "2s") }), func(h heard) bool {
		return h.code == 404 && h.text == "unknown run id nope"
	})
	each("at its owner", together(c, func(c caller) heard { return c.abort("at.a", "stubborn", "10ms") }), func(h heard) bool {
		return h.run["state"] == "RUNNING" && h.run["aborting"] == true && h.by == "a"
	})
	each("at another runner", together(c, func(c caller) heard { return c.abort("at.b", "stubborn", "10ms") }), func(h heard) bool {
		return h.code == 503 && strings.Contains(h.text, "not on this runner")
	})

	c[1].start("at.b", "done", commands("exit 4"))
	c[1].final("done")
	each("a run that has ended", together(c, func(c caller) heard { return c.abort("any", "done", "2s") }), func(h heard) bool {
		return h.run["state"] == "COMPLETE" && h.run["exitCode"] == 4.0
	})
	for i := range 20 { // whoever is asked, the owner does it
		id := "forwarded" + strconv.Itoa(i)
		c[0].start("at.b", id, commands("sleep 1000"))
		each("forwarded", together(c, func(c caller) heard { return c.abort("any", id, "20s") }), func(h heard) bool {
			return h.run["state"] == "ABORTED" && h.run["runner"] == "b"
		})
	}
}

// BenchmarkAbort is from the request to the final record, for a run of one process.
func BenchmarkAbort(b *testing.B) {
	f := newBenchFleet(b)
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		id := "run" + strconv.Itoa(n)
		f.request("runner.task.any", `{"kind":"runner","metadata":{"id":"`+id+`"},"spec":{"task":{"argv":["sleep","1000"]}}}`)
		b.StartTimer()
		f.request("runner.abort.any", `{"kind":"runner","spec":{"abort":{"run":"`+id+`","wait":"20s"}}}`)
	}
}
