package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	goleak.VerifyTestMain(m)
}

// world is a server, a runner and an engine.
type world struct {
	t      *testing.T
	server *embedded.Server
	engine *pipeline.Engine
	c      *client.Client
}

func open(t *testing.T, definitions string) *world {
	t.Helper()
	w := &world{t: t, server: rig.Memory(t)}
	w.runner("r1")
	w.engine = w.start("e1")
	w.client()
	if definitions != "" {
		w.apply(definitions)
	}
	return w
}

func (w *world) client() {
	var err error
	if w.c, err = client.New(rig.Connect(w.t, w.server), client.Options{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) runner(name string) *service.Service {
	w.t.Helper()
	s, err := service.Start(w.ctx(), rig.Connect(w.t, w.server), service.Config{Name: name, DataDir: w.t.TempDir()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) start(name string) *pipeline.Engine {
	w.t.Helper()
	e, err := pipeline.Start(w.ctx(), rig.Connect(w.t, w.server), pipeline.Config{Name: name, Lease: 2 * time.Second, Logger: rig.Logger(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Close)
	return e
}

func (w *world) ctx() context.Context { return rig.Within(w.t, time.Minute) }

func (w *world) apply(definitions string) {
	w.t.Helper()
	if _, err := w.c.Apply(w.ctx(), definitions, client.ApplyOptions{Source: "test"}); err != nil {
		w.t.Fatalf("Apply: %v", err)
	}
}

func (w *world) schedule(name string, vars map[string]any) *pb.Job {
	w.t.Helper()
	job, err := w.c.Schedule(w.ctx(), name, client.ScheduleOptions{Variables: vars, User: "me"})
	if err != nil {
		w.t.Fatalf("Schedule: %v", err)
	}
	return job
}

// end waits for the end of a job.
func (w *world) end(id string) *pb.Job {
	w.t.Helper()
	var last *pb.Job
	err := w.c.WatchJob(w.ctx(), id, func(job *pb.Job) error { last = job; return nil })
	if err != nil {
		w.t.Fatalf("WatchJob: %v (last seen: %s)", err, show(last))
	}
	return last
}

// until waits until a job is as wanted.
func (w *world) until(id, what string, is func(*pb.Job) bool) {
	w.t.Helper()
	seen := errors.New("seen")
	err := w.c.WatchJob(w.ctx(), id, func(job *pb.Job) error {
		if is(job) {
			return seen
		}
		return nil
	})
	if !errors.Is(err, seen) {
		w.t.Fatalf("job %s never was %s: %v", id, what, err)
	}
}

func (w *world) log(job *pb.Job, task string) string {
	w.t.Helper()
	var out strings.Builder
	for _, id := range job.Task(task).GetRuns() {
		run, err := w.c.Status(w.ctx(), id)
		if err != nil {
			w.t.Fatalf("Status: %v", err)
		}
		_, err = w.c.Follow(w.ctx(), run, client.FollowOptions{Live: true}, func(r lines.Record) error {
			if r.Text != nil {
				fmt.Fprintf(&out, "%s\n", r.Text)
			}
			return nil
		})
		if err != nil {
			w.t.Fatalf("Follow: %v", err)
		}
	}
	return out.String()
}

// show writes a job in one line: what it is, and each task's status.
func show(job *pb.Job) string {
	var all []string
	for _, t := range job.GetTasks() {
		all = append(all, fmt.Sprintf("%s=%s/%d", t.GetName(), t.GetStatus(), t.GetExitCode()))
	}
	state := "running"
	switch {
	case job.GetCanceled():
		state = "canceled"
	case job.GetErrored():
		state = "errored"
	case job.GetCompleted():
		state = "completed"
	case job.GetStart() == nil:
		state = "waiting"
	}
	return state + ": " + strings.Join(all, " ")
}

func TestJobs(t *testing.T) {
	w := open(t, `
pipelines:
  ok:
    env: {A: pipeline, B: pipeline}
    tasks:
      one:
        script: ['echo "{{ .name }} $A $B $TASK_NAME $VAR_name"', 'test -n "$JOB_ID"']
        env: {B: '$A'}
      two:
        script: [echo two]
        depends_on: one
      mark: {depends_on: [one, two]}
  fails:
    tasks:
      a: {script: [exit 3]}
      slow: {script: [sleep 100]}
      b: {script: [echo no], depends_on: a}
    on_error:
      script: ['echo "$failedTaskName $failedTaskExitCode {{ .failedTaskName }}"']
  allowed:
    tasks:
      a: {script: [exit 3], allow_failure: true}
      b: {script: [echo on], depends_on: a}
  goeson:
    continue_running_tasks_after_failure: true
    tasks:
      a: {script: [exit 3]}
      b: {script: [sleep 0.2]}
      c: {script: [echo c], depends_on: b}
  retries:
    tasks:
      a: {script: ['test -e {{ .file }} || { touch {{ .file }}; exit 1; }'], retries: 2}
  empty: {}
  when:
    tasks:
      a: {script: [exit 4], allow_failure: true}
      b: {script: [echo b], depends_on: a, when: 'tasks.a.exitCode == 4 && vars.go == true'}
      c: {script: [echo c], depends_on: a, when: 'tasks.a.exitCode == 0'}
      d: {script: [echo d], depends_on: c}
  missing:
    tasks:
      a: {script: ['echo {{ .nope }}']}
  everywhere:
    tasks:
      a: {script: ['echo here'], on: {all: true}}
`)
	for _, c := range []struct {
		pipeline, want, lastError string
		vars                      map[string]any
	}{
		{"ok", "completed: one=done/0 two=done/0 mark=done/0", "", map[string]any{"name": "x"}},
		{"fails", "errored: a=error/3 slow=canceled/130 b=skipped/0 on_error=done/0", "task a: exit status 3", nil},
		{"allowed", "completed: a=error/3 b=done/0", "", nil},
		{"goeson", "errored: a=error/3 b=done/0 c=done/0", "task a: exit status 3", nil},
		{"retries", "completed: a=done/0", "", map[string]any{"file": t.TempDir() + "/f"}},
		{"empty", "completed: ", "", nil},
		{"when", "completed: a=error/4 b=done/0 c=skipped/0 d=skipped/0", "", map[string]any{"go": true}},
		{"missing", "errored: a=error/125", `task a: cannot render script item 1, line 1: the job has no variable "nope"`, nil},
		{"everywhere", "completed: a=done/0", "", nil},
	} {
		t.Run(c.pipeline, func(t *testing.T) {
			job := w.end(w.schedule(c.pipeline, c.vars).GetId())
			if show(job) != c.want || job.GetLastError() != c.lastError {
				t.Errorf("got  %s, %q\nwant %s, %q", show(job), job.GetLastError(), c.want, c.lastError)
			}
			if job.GetUser() != "me" || job.GetEnd() == nil || job.GetStart() == nil {
				t.Errorf("user %q, start %v, end %v", job.GetUser(), job.GetStart(), job.GetEnd())
			}
			switch c.pipeline {
			case "ok":
				if got := w.log(job, "one"); got != "x pipeline $A one x\n" {
					t.Errorf("log %q", got)
				}
			case "fails":
				if got := w.log(job, "on_error"); got != "a 3 a\n" {
					t.Errorf("log of the handler %q", got)
				}
			case "retries":
				if got := job.Task("a").GetAttempt(); got != 2 {
					t.Errorf("attempt %d, want 2", got)
				}
			}
		})
	}
}

func TestQueueAndCancel(t *testing.T) {
	w := open(t, `
pipelines:
  q:
    queue_limit: 1
    tasks:
      a: {script: [sleep 100]}
      b: {script: [echo b], depends_on: a}
`)
	first := w.schedule("q", nil)
	w.until(first.GetId(), "running", func(j *pb.Job) bool { return j.Task("a").GetStatus() == "running" })
	second := w.schedule("q", nil)
	if _, err := w.c.Schedule(w.ctx(), "q", client.ScheduleOptions{}); err == nil || err.Error() != "concurrency exceeded and queue limit reached for pipeline" {
		t.Errorf("third: %v", err)
	}
	if job, err := w.c.Job(w.ctx(), second.GetId()); err != nil || job.GetPlace() != 1 || job.GetStart() != nil {
		t.Errorf("second: %v, %v", job, err)
	}
	if _, err := w.c.Cancel(w.ctx(), first.GetId(), client.CancelOptions{User: "you", Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	job := w.end(first.GetId())
	if show(job) != "canceled: a=canceled/130 b=canceled/0" || job.GetCanceledBy() != "you" || job.GetErrored() {
		t.Errorf("first: %s by %s, errored %v", show(job), job.GetCanceledBy(), job.GetErrored())
	}
	w.until(second.GetId(), "running", func(j *pb.Job) bool { return j.Task("a").GetStatus() == "running" })
	third := w.schedule("q", nil)
	if job, err := w.c.Cancel(w.ctx(), third.GetId(), client.CancelOptions{}); err != nil || show(job) != "canceled: a=canceled/0 b=canceled/0" {
		t.Errorf("waiting one: %s, %v", show(job), err)
	}
	if again, err := w.c.Cancel(w.ctx(), first.GetId(), client.CancelOptions{User: "late"}); err != nil || again.GetCanceledBy() != "you" {
		t.Errorf("an ended job was changed: %v, %v", again, err)
	}
	if _, err := w.c.Cancel(w.ctx(), second.GetId(), client.CancelOptions{}); err != nil {
		t.Fatal(err)
	}
	w.end(second.GetId())
	if _, err := w.c.Job(w.ctx(), "11111111-1111-1111-1111-111111111111"); !errors.Is(err, client.ErrUnknownJob) {
		t.Errorf("unknown job: %v", err)
	}
	count := 0
	for _, err := range w.c.Jobs(w.ctx(), client.JobsOptions{Page: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 3 {
		t.Errorf("%d jobs listed, want 3", count)
	}
}

func TestRerun(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    tasks:
      a: {script: ['echo a >>{{ .dir }}/ran']}
      b: {script: ['echo b >>{{ .dir }}/ran', 'test -e {{ .dir }}/good'], depends_on: a}
      c: {script: ['echo c >>{{ .dir }}/ran'], depends_on: b}
`)
	dir := t.TempDir()
	first := w.end(w.schedule("p", map[string]any{"dir": dir}).GetId())
	if show(first) != "errored: a=done/0 b=error/1 c=skipped/0" {
		t.Fatal(show(first))
	}
	again, err := w.c.Rerun(w.ctx(), first.GetId(), client.RerunOptions{Failed: true})
	if err != nil {
		t.Fatal(err)
	}
	second := w.end(again.GetId())
	if show(second) != "errored: a=done/0 b=error/1 c=skipped/0" || !second.Task("a").GetKept() || second.Task("a").GetRuns()[0] != first.Task("a").GetRuns()[0] {
		t.Errorf("second: %s", show(second))
	}
	if _, err := w.c.Rerun(w.ctx(), first.GetId(), client.RerunOptions{From: "nope"}); err == nil {
		t.Error("a rerun from a task that there is none of")
	}
}

// The engine goes, another comes: jobs go on, nothing is run twice.
func TestTakeover(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    tasks:
      a: {script: ['echo a >>{{ .dir }}/ran', 'while [ ! -e {{ .dir }}/go ]; do sleep 0.05; done']}
      b: {script: ['echo b >>{{ .dir }}/ran'], depends_on: a}
`)
	dir := t.TempDir()
	first := w.schedule("p", map[string]any{"dir": dir})
	second := w.schedule("p", map[string]any{"dir": dir})
	w.until(first.GetId(), "running", func(j *pb.Job) bool { return j.Task("a").GetStatus() == "running" })
	w.engine.Close()
	other := w.start("e2")
	touch(t, dir+"/go")
	for _, id := range []string{first.GetId(), second.GetId()} {
		if job := w.end(id); show(job) != "completed: a=done/0 b=done/0" {
			t.Errorf("after the takeover: %s", show(job))
		}
	}
	if got := read(t, dir+"/ran"); got != "a\nb\na\nb\n" {
		t.Errorf("ran %q", got)
	}
	if !other.Leads() {
		t.Error("the other engine does not lead")
	}
}
