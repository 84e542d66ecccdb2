package pipeline_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/tests/rig"
)

func running(task string) func(*pb.Job) bool {
	return func(j *pb.Job) bool { return j.Task(task).GetStatus() == "running" }
}

// startWith is start with a configuration of its own.
func (w *world) startWith(cfg pipeline.Config) *pipeline.Engine {
	w.t.Helper()
	e, err := pipeline.Start(w.ctx(), rig.Connect(w.t, w.server), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Close)
	return e
}

// Values are never code and never rendered twice, wherever they go.
func TestHostileValues(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    tasks:
      a:
        script:
          - 'printf "%s" "$VAR_v" >{{ quote .out }}/env'
          - 'printf "%s" {{ quote .v }} >{{ quote .out }}/word'
          - 'printf "%s" "$OWN" >{{ quote .out }}/own'
        env: {OWN: '{{ .v }} $HOME $(id)'}
  bad:
    tasks:
      a: {script: ['cat {{ quote .file }}; cat {{ quote .file }} >&2; exit 3']}
    on_error:
      script: ['printf "%s" "$failedTaskStdout" >{{ quote .out }}/stdout', 'printf "%s" {{ quote .failedTaskStderr }} >{{ quote .out }}/stderr']
  ref:
    env: {A: '$HOME', B: '$NOPE'}
    tasks:
      a: {script: ['printf "%s" "$A $B $C" >{{ quote .out }}/ref'], env: {C: '$A'}}
  nul:
    tasks:
      a: {script: ['test -z "${VAR_v+set}"', 'printf "%s" "$VAR_x"']}
`)
	out := t.TempDir()
	for _, value := range []string{
		`'`, `"`, "`touch " + out + "/pwned`", `$(touch ` + out + `/pwned)`, `{{ .out }}`, `{{ nope`, "a\nb\n\nc", `';touch ` + out + `/pwned;'`, `\`, `$HOME`, "%s%n", "-n", "é\u2028",
		strings.Repeat("'", 60_000),
	} {
		job := w.end(w.schedule("p", map[string]any{"v": value, "out": out}).GetId())
		if !job.GetCompleted() || job.GetErrored() {
			t.Errorf("%.40q: %s, %s", value, show(job), job.GetLastError())
			continue
		}
		if got := read(t, out+"/env"); got != value {
			t.Errorf("%.40q in the environment: %.80q", value, got)
		}
		if got := read(t, out+"/word"); got != value {
			t.Errorf("%.40q quoted: %.80q", value, got)
		}
		if got := read(t, out+"/own"); got != "{{ .v }} $HOME $(id)" {
			t.Errorf("a value of env was rendered: %q", got)
		}
	}
	text := "'\"`touch " + out + "/pwned` $(touch " + out + "/pwned) {{ .out }}\nsecond"
	if err := os.WriteFile(out+"/file", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if job := w.end(w.schedule("bad", map[string]any{"file": out + "/file", "out": out}).GetId()); show(job) != "errored: a=error/3 on_error=done/0" {
		t.Errorf("the handler: %s", show(job))
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if got := strings.TrimSuffix(read(t, out+"/"+stream), "\n"); got != text {
			t.Errorf("%s of the failed task: %q", stream, got)
		}
	}
	w.end(w.schedule("ref", map[string]any{"out": out}).GetId())
	if got := read(t, out+"/ref"); got != "$HOME $NOPE $A" {
		t.Errorf("values that look like references: %q", got)
	}
	if job := w.end(w.schedule("nul", map[string]any{"v": "a\x00b", "x": "y"}).GetId()); show(job) != "completed: a=done/0" || w.log(job, "a") != "y\n" {
		t.Errorf("NUL: %s %q", show(job), w.log(job, "a"))
	}
	if _, err := os.Stat(out + "/pwned"); err == nil {
		t.Error("a value was executed")
	}
}

func TestTooLarge(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    tasks:
      a: {script: ['true {{ .v }} {{ .v }} {{ .v }}']}
`)
	for _, c := range []struct{ value, want string }{
		{strings.Repeat("x", 1<<20), "cannot use variables: they have "},
		{strings.Repeat(`"`, 260_000), "cannot start the job: its record would have "},
	} {
		_, err := w.c.Schedule(w.ctx(), "p", client.ScheduleOptions{Variables: map[string]any{"v": c.value}})
		if !errors.Is(err, client.ErrInvalid) && err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes: %.200v", len(c.value), err)
		}
	}
	job := w.end(w.schedule("p", map[string]any{"v": strings.Repeat("x", 400_000)}).GetId())
	if !strings.Contains(job.GetLastError(), "the script with its environment has become ") {
		t.Errorf("a script that no request can hold: %s, %s", show(job), job.GetLastError())
	}
	if after := w.end(w.schedule("p", map[string]any{"v": "x"}).GetId()); show(after) != "completed: a=done/0" {
		t.Errorf("the next one: %s", show(after))
	}
}

func TestRetentionAndEnvFiles(t *testing.T) {
	w := open(t, "")
	const text = `
pipelines:
  kept:
    retention_count: 1
    env: {SHOWN: plain}
    tasks:
      a: {script: ['test "$SECRET" = hush', 'echo it', 'exit 1'], retries: 1}
`
	if _, err := w.c.Apply(w.ctx(), text, client.ApplyOptions{Source: "test", Env: map[string]string{"SECRET": "hush"}}); err != nil {
		t.Fatal(err)
	}
	first := w.end(w.schedule("kept", nil).GetId())
	second := w.end(w.schedule("kept", nil).GetId())
	if first.Task("a").GetAttempt() != 2 {
		t.Fatalf("first: %s, %v", show(first), first)
	}
	gone := func(id string) bool { _, err := w.c.Status(w.ctx(), id); return errors.Is(err, client.ErrUnknownRun) }
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := w.c.Job(w.ctx(), first.GetId())
		if errors.Is(err, client.ErrUnknownJob) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the old job is still there: %v", err)
		}
	}
	for _, id := range []string{first.GetId() + "-1", first.GetId() + "-1-a2"} {
		if !gone(id) {
			t.Errorf("run %s is still there", id)
		}
	}
	if gone(second.Task("a").GetRuns()[0]) {
		t.Error("the newest job's run is gone")
	}
	p, err := w.c.Pipeline(w.ctx(), "kept")
	if err != nil || !strings.Contains(p.GetDefinition(), `"SECRET":"***"`) || !strings.Contains(p.GetDefinition(), `"SHOWN":"plain"`) {
		t.Errorf("the definition shows %s, %v", p.GetDefinition(), err)
	}
	js := rig.JetStream(t, rig.Connect(t, w.server))
	for _, bucket := range []string{"runner_runs", "runner_jobs"} { // what viewers read
		w.scan(js, bucket, func(key, body string) {
			if strings.Contains(body, "hush") {
				t.Errorf("%s %s tells the secret: %s", bucket, key, body)
			}
		})
	}
	w.apply("pipelines: {timed: {retention_period: 1s, tasks: {a: {script: [echo]}}}}")
	timed := w.end(w.schedule("timed", nil).GetId())
	for deadline := time.Now().Add(30 * time.Second); !gone(timed.Task("a").GetRuns()[0]); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("retention_period removes nothing")
		}
	}
}

func (w *world) scan(js jetstream.JetStream, bucket string, each func(key, body string)) {
	w.t.Helper()
	kv, err := js.KeyValue(w.ctx(), bucket)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := kv.Keys(w.ctx())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range keys {
		if e, err := kv.Get(w.ctx(), key); err == nil {
			each(key, string(e.Value()))
		}
	}
}

// A new job ends running ones that let themselves be interrupted, inherits a
// replaced one's variables, and each works with the definition it started with.
func TestInterruptMergeReload(t *testing.T) {
	w := open(t, `
pipelines:
  soft:
    interrupt: true
    tasks: {a: {script: ['{{ .do }}'], interruptible: true}}
  hard:
    interrupt: true
    tasks: {a: {script: ['{{ .do }}'], interruptible: true}, b: {script: [echo], depends_on: a}}
  merge:
    queue_limit: 1
    queue_strategy: replace
    variables: merge
    tasks: {a: {script: ['{{ .do }}', 'echo "{{ .x }} {{ .y }}"']}}
  reload:
    concurrency: 2
    tasks: {a: {script: ['{{ .do }}']}, b: {script: [echo old], depends_on: a}}
`)
	go1 := t.TempDir() + "/go"
	wait := map[string]any{"do": "while [ ! -e " + go1 + " ]; do sleep 0.05; done"}
	soft := w.schedule("soft", wait)
	w.until(soft.GetId(), "running", running("a"))
	next := w.schedule("soft", map[string]any{"do": "true"})
	if job := w.end(soft.GetId()); show(job) != "canceled: a=canceled/130" || job.GetReason() != "interrupted by job "+next.GetId() {
		t.Errorf("interrupted: %s, %q", show(job), job.GetReason())
	}
	if job := w.end(next.GetId()); show(job) != "completed: a=done/0" {
		t.Errorf("the new one: %s", show(job))
	}
	hard := w.schedule("hard", wait)
	w.until(hard.GetId(), "running", running("a"))
	behind := w.schedule("hard", map[string]any{"do": "true"})

	merge := w.schedule("merge", map[string]any{"do": wait["do"], "x": 1, "y": 1})
	w.until(merge.GetId(), "running", running("a"))
	old := w.schedule("merge", map[string]any{"do": "true", "x": "old", "y": "old"})
	newer := w.schedule("merge", map[string]any{"x": "new"})
	if job := w.end(old.GetId()); show(job) != "canceled: a=canceled/0" || job.GetReason() != "replaced by job "+newer.GetId() {
		t.Errorf("replaced: %s, %q", show(job), job.GetReason())
	}

	reload := w.schedule("reload", wait)
	w.until(reload.GetId(), "running", running("a"))
	w.apply("pipelines: {reload: {tasks: {a: {script: [echo new]}, c: {script: [echo], depends_on: a}}}}")
	if err := w.c.RemovePipeline(w.ctx(), "hard"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Schedule(w.ctx(), "hard", client.ScheduleOptions{}); !errors.Is(err, client.ErrUnknownPipeline) {
		t.Errorf("a job of a removed pipeline: %v", err)
	}
	touch(t, go1)
	for id, want := range map[string]string{
		hard.GetId(): "completed: a=done/0 b=done/0", behind.GetId(): "completed: a=done/0 b=done/0",
		newer.GetId(): "completed: a=done/0", reload.GetId(): "completed: a=done/0 b=done/0",
		w.schedule("reload", nil).GetId(): "completed: a=done/0 c=done/0",
	} {
		if job := w.end(id); show(job) != want {
			t.Errorf("%s: %s, want %s", job.GetPipeline(), show(job), want)
		}
	}
	if job, err := w.c.Job(w.ctx(), newer.GetId()); err != nil || w.log(job, "a") != "new old\n" {
		t.Errorf("merged variables: %q, %v", w.log(job, "a"), err)
	}
}

// Whatever comes at once is taken in or replaced, and none is lost.
func TestReplaceAtOnce(t *testing.T) {
	w := open(t, `
pipelines:
  p:
    queue_limit: 1
    queue_strategy: replace
    tasks: {a: {script: [sleep 100]}}
`)
	first := w.schedule("p", nil)
	w.until(first.GetId(), "running", running("a"))
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := w.c.Schedule(w.ctx(), "p", client.ScheduleOptions{}); err != nil {
				t.Errorf("Schedule: %v", err)
			}
		})
	}
	wg.Wait()
	waiting := 0
	for job, err := range w.c.Jobs(w.ctx(), client.JobsOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !job.GetCompleted() {
			waiting++
		}
	}
	if waiting != 2 {
		t.Errorf("%d jobs run or wait, want 2", waiting)
	}
	job, err := w.c.Cancel(w.ctx(), first.GetId(), client.CancelOptions{User: "you"})
	if err != nil || !job.GetCanceled() || job.GetCanceledBy() != "you" {
		t.Errorf("the answer to a cancel does not say so: %s, %v", show(job), err)
	}
	w.end(first.GetId())
}

func TestSourcesAndIDs(t *testing.T) {
	w := open(t, "pipelines: {p: {tasks: {a: {script: [exit 3]}, b: {script: [echo b]}, c: {script: [echo c], depends_on: b}, d: {script: [echo d], depends_on: a}}}}")
	_, err := w.c.Apply(w.ctx(), "pipelines: {p: {}}", client.ApplyOptions{Source: "host2:/other.yml"})
	if !errors.Is(err, client.ErrConflict) || !strings.Contains(err.Error(), "test") || !strings.Contains(err.Error(), "host2:/other.yml") {
		t.Errorf("a second source: %v", err)
	}
	const id = "0d3253b8-50e8-4242-ad02-3a7d997d497e"
	for range 2 {
		job, err := w.c.Schedule(w.ctx(), "p", client.ScheduleOptions{ID: id, Variables: map[string]any{"x": 1}})
		if err != nil || job.GetId() != id {
			t.Fatalf("the same id again: %v, %v", job, err)
		}
	}
	if _, err := w.c.Schedule(w.ctx(), "p", client.ScheduleOptions{ID: id, Variables: map[string]any{"x": 2}}); !errors.Is(err, client.ErrConflict) {
		t.Errorf("another job of that id: %v", err)
	}
	first := w.end(id)
	if first.Task("a").GetStatus() != "error" || first.Task("d").GetStatus() != "skipped" {
		t.Fatal(show(first))
	}
	if _, err := w.c.Rerun(w.ctx(), id, client.RerunOptions{From: "d"}); !errors.Is(err, client.ErrConflict) {
		t.Errorf("from a task whose dependency failed: %v", err)
	}
	again, err := w.c.Rerun(w.ctx(), id, client.RerunOptions{From: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if job := w.end(again.GetId()); job.GetErrored() || job.Task("b").GetStatus() != "done" || job.Task("c").GetStatus() != "done" || !job.Task("a").GetKept() {
		t.Errorf("from b: %s, %s", show(job), job.GetLastError())
	}
}

// A job whose definition is lost ends by itself; the engine goes on.
func TestUnfitJob(t *testing.T) {
	w := open(t, "pipelines: {p: {tasks: {a: {script: [sleep 100]}}}}")
	first := w.schedule("p", nil)
	w.until(first.GetId(), "running", running("a"))
	waits := w.schedule("p", nil)
	kv, err := rig.JetStream(t, rig.Connect(t, w.server)).KeyValue(w.ctx(), "runner_pipelines")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(w.ctx(), "input."+waits.GetId()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Cancel(w.ctx(), first.GetId(), client.CancelOptions{}); err != nil {
		t.Fatal(err)
	}
	if job := w.end(waits.GetId()); !job.GetErrored() || !strings.Contains(job.GetLastError(), "cannot read the definition") {
		t.Errorf("the job without a definition: %s, %s", show(job), job.GetLastError())
	}
	third := w.schedule("p", nil)
	w.until(third.GetId(), "running", running("a"))
}

// The same request several times at once, as a client sends it that has no
// answer: one job, and each answer is that one.
func TestSameIDAtOnce(t *testing.T) {
	w := open(t, "pipelines: {p: {tasks: {a: {script: ['echo {{ .x }} >>{{ .file }}']}}}}")
	file := t.TempDir() + "/ran"
	var wg sync.WaitGroup
	for n := range 10 {
		id := fmt.Sprintf("0d3253b8-50e8-4242-ad02-3a7d997d49%02d", n)
		for range 10 {
			wg.Go(func() {
				job, err := w.c.Schedule(w.ctx(), "p", client.ScheduleOptions{ID: id, Variables: map[string]any{"x": n, "file": file}})
				if err != nil || job.GetId() != id {
					t.Errorf("job %s: %v, %v", id, job.GetId(), err)
				}
			})
		}
	}
	wg.Wait()
	count := 0
	for job, err := range w.c.Jobs(w.ctx(), client.JobsOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		w.end(job.GetId())
		count++
	}
	if ran := strings.Count(read(t, file), "\n"); count != 10 || ran != 10 {
		t.Errorf("%d jobs and %d runs, want 10", count, ran)
	}
}
