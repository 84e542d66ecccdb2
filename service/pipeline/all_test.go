package pipeline_test

import (
	"slices"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// The runners of a task on all are those of its start, whichever engine goes on
// and however many attempts follow.
func TestOnAllKeepsItsRunners(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    tasks:
      a:
        script: ['touch {{ .dir }}/$JOB_ID-$RUNNEL_RUN_ID 2>/dev/null', 'while [ ! -e {{ .dir }}/go ]; do sleep 0.05; done', 'test -e {{ .dir }}/well']
        on: {all: true}
        retries: {max: 1, backoff: 1s}
      b: {script: ['true'], depends_on: a}
`)
	w.runner("r2")
	dir := t.TempDir()
	job := w.schedule("p", map[string]any{"dir": dir})
	id := job.GetId()
	want := []string{id + "-1-r1", id + "-1-r2"}
	w.until(id, "written down", func(j *pb.Job) bool { return slices.Equal(j.Task("a").GetAsked(), []string{"r1", "r2"}) })
	for _, run := range want {
		w.runs(run)
	}
	w.engine.Close()
	w.runner("r3")
	w.start("e2")
	touch(t, dir+"/go")
	w.until(id, "tried again", func(j *pb.Job) bool { return j.Task("a").GetAttempt() == 2 })
	touch(t, dir+"/well")
	last := w.end(id)
	if show(last) != "completed: a=done/0 b=done/0" {
		t.Errorf("got %s, %s", show(last), last.GetLastError())
	}
	again := []string{id + "-1-a2-r1", id + "-1-a2-r2"}
	if got := last.Task("a").GetRuns(); !slices.Equal(got, again) {
		t.Errorf("runs %v, want %v", got, again)
	}
	if _, err := w.c.Status(w.ctx(), id+"-1-r3"); err == nil {
		t.Error("a runner that came later was asked by the first attempt")
	}
}

// Cancelled while it runs everywhere: all of its runs end, and the dependents never start.
func TestCancelOnAll(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    tasks:
      a: {script: [sleep 1000], on: {all: true}}
      b: {script: ['true'], depends_on: a}
`)
	w.runner("r2")
	id := w.schedule("p", nil).GetId()
	w.runs(id + "-1-r1")
	w.runs(id + "-1-r2")
	if _, err := w.c.Cancel(w.ctx(), id, client.CancelOptions{User: "you"}); err != nil {
		t.Fatal(err)
	}
	if job := w.end(id); show(job) != "canceled: a=canceled/130 b=canceled/0" {
		t.Errorf("got %s", show(job))
	}
	for _, run := range []string{id + "-1-r1", id + "-1-r2"} {
		if got, err := w.c.Status(w.ctx(), run); err != nil || got.GetState() != pb.State_ABORTED {
			t.Errorf("run %s: %v, %v", run, got.GetState(), err)
		}
	}
}

// runs waits until a run is there and executes.
func (w *world) runs(id string) {
	w.t.Helper()
	rig.Eventually(w.t, "run "+id+" executes", func() bool {
		run, err := w.c.Status(w.ctx(), id)
		return err == nil && run.GetState() == pb.State_RUNNING
	})
}
