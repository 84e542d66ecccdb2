package pipeline_test

import (
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/tests/rig"
)

// On all: the set, its batches, who is missing, and whom a retry asks.
func TestOnAll(t *testing.T) {
	w := open(t, "")
	w.runner("r2")
	w.runner("r3").Close()
	dir := t.TempDir()
	w.apply(`
pipelines:
  missing: {tasks: {a: {script: [echo], on: {all: true}}}}
  limit: {tasks: {a: {script: [echo], on: {all: true, limit: "1"}}}}
  batch: {tasks: {a: {script: [echo], on: {all: true, where: 'name != "r3"', batch: "50%"}}}}
  again:
    tasks:
      a:
        script: ['n=$(ls ` + dir + ` | wc -l); mkdir ` + dir + `/$n || exit 1; test $n != 0']
        on: {all: true, where: 'name != "r3"', batch: "1"}
        retries: 1
  slow: {tasks: {a: {script: [sleep 100], on: {all: true, where: 'name != "r3"'}}}}
`)
	for name, want := range map[string]string{
		"missing": "errored: a=error/125", "limit": "completed: a=done/0", "batch": "completed: a=done/0", "again": "completed: a=done/0",
	} {
		job := w.end(w.schedule(name, nil).GetId())
		if show(job) != want {
			t.Errorf("%s: %s, %s", name, show(job), job.GetLastError())
		}
		runs := job.Task("a").GetRuns()
		switch {
		case name == "missing" && job.GetLastError() != "task a: missing: r3", name == "limit" && len(runs) != 1, name != "limit" && len(runs) != 2:
			t.Errorf("%s: runs %v, %s", name, runs, job.GetLastError())
		case name == "again" && (runs[0] != job.GetId()+"-1-a2-r1" || runs[1] != job.GetId()+"-1-r2"):
			t.Errorf("a retry asked others than the failed one: %v", runs)
		}
	}
	slow := w.schedule("slow", nil)
	w.until(slow.GetId(), "running", running("a"))
	if _, err := w.c.Cancel(w.ctx(), slow.GetId(), client.CancelOptions{}); err != nil {
		t.Fatal(err)
	}
	if job := w.end(slow.GetId()); show(job) != "canceled: a=canceled/130" && show(job) != "canceled: a=canceled/125" {
		t.Errorf("canceled: %s", show(job))
	}
}

func TestNoRunnerAndRetries(t *testing.T) {
	w := &world{t: t, server: rig.Memory(t)}
	w.runner("r1")
	w.startWith(pipeline.Config{Name: "e1", StartTimeout: time.Second, Logger: rig.Logger(t)})
	w.client()
	w.apply(`
pipelines:
  pool: {tasks: {a: {script: [echo], on: {pool: nope, where: 'cpus > 0'}}}}
  one: {tasks: {a: {script: [echo], on: {runner: nobody}}}}
  all: {tasks: {a: {script: [echo], on: {all: true, pool: nope}}}}
  exits: {tasks: {a: {script: [exit 3], retries: {max: 2, on: [timeout]}}}}
  times: {tasks: {a: {script: [sleep 100], timeout: 300ms, grace: 0s, retries: {max: 1, backoff: 100ms, on: timeout}}}}
  signals: {tasks: {a: {script: ['kill -9 $$'], retries: 1}}}
  own: {tasks: {a: {script: ['test "$(ls -A | wc -l)" = 0', 'touch x'], depends_on: []}}}
`)
	for name, c := range map[string]struct {
		last    string
		attempt int32
	}{
		"pool":    {"task a: no runner matches pool nope, where cpus > 0", 1},
		"one":     {"task a: no runner matches runner nobody", 1},
		"all":     {"task a: no runner matches pool nope", 1},
		"exits":   {"task a: exit status 3", 1},
		"times":   {"task a: timed out", 2},
		"signals": {"task a: killed by SIGKILL", 2},
		"own":     {"", 1},
	} {
		job := w.end(w.schedule(name, nil).GetId())
		if job.GetLastError() != c.last || job.Task("a").GetAttempt() != c.attempt {
			t.Errorf("%s: %s, %q after %d attempts", name, show(job), job.GetLastError(), job.Task("a").GetAttempt())
		}
	}
}
