package pipeline_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/pipeline/source"
	"github.com/runnel-io/runnel/tests/rig"
)

// An engine that stands in for a program which ran tasks as its children: they
// run in its directory, on its runner, with its environment below that of files.
func TestStandIn(t *testing.T) {
	w := &world{t: t, server: rig.Memory(t)}
	w.runner("here")
	w.runner("elsewhere")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"flow":   "#!/bin/sh\necho \"$LOWEST $FILE $PIPELINE $TASK\"\n",
		".env":   "FILE=one\nPIPELINE=file\nTASK=file\n",
		".env.2": "# later ones win\nexport FILE='two words'\n",
		"pipelines.yml": `
pipelines:
  p:
    env: {PIPELINE: pipeline, TASK: pipeline}
    tasks:
      flow: {script: [./flow], env: {TASK: task}}
      own: {script: ['pwd', 'echo "$TASK"'], dir: /}
      other: {script: ['test "$(pwd)" = "{{ .dir }}"'], on: {runner: elsewhere}}
      fails: {script: [exit 4], depends_on: [flow, own, other]}
    on_error: {script: ['./flow', 'pwd']}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.startWith(pipeline.Config{
		Name: "e", Logger: rig.Logger(t), Dir: dir, Runner: "here", Env: map[string]string{"LOWEST": "process", "FILE": "process"},
	})
	w.client()
	files := source.Files{Dir: dir, EnvFiles: []string{filepath.Join(dir, ".env"), filepath.Join(dir, ".env.2"), filepath.Join(dir, "none")}}
	if _, err := files.Apply(w.ctx(), w.c); err != nil {
		t.Fatal(err)
	}
	job := w.end(w.schedule("p", map[string]any{"dir": dir}).GetId())
	if show(job) != "errored: flow=done/0 other=done/0 own=done/0 fails=error/4 on_error=done/0" {
		t.Fatalf("%s: %s", show(job), job.GetLastError())
	}
	for task, want := range map[string]string{"flow": "process two words pipeline task\n", "own": "/\npipeline\n", "on_error": "process two words pipeline pipeline\n" + dir + "\n"} {
		if got := w.log(job, task); got != want {
			t.Errorf("%s printed %q, want %q", task, got, want)
		}
		if task := job.Task(task); task.GetRunner() != "here" {
			t.Errorf("%s ran on %q", task.GetName(), task.GetRunner())
		}
	}
	if got := job.Task("other").GetRunner(); got != "elsewhere" {
		t.Errorf("a task's own target: ran on %q", got)
	}
	p, err := w.c.Pipeline(w.ctx(), "p")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.GetDefinition(); !strings.Contains(got, `"FILE":"***"`) || strings.Contains(got, "two words") {
		t.Errorf("values of files are shown: %s", got)
	}
	again, err := w.c.Rerun(w.ctx(), job.GetId(), client.RerunOptions{Failed: true})
	if err != nil {
		t.Fatal(err)
	}
	if job := w.end(again.GetId()); w.log(job, "on_error") != "process two words pipeline pipeline\n"+dir+"\n" {
		t.Errorf("run again: %s, %q", show(job), w.log(job, "on_error"))
	}
}
