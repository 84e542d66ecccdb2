package pipeline_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// How the items of a script run, each row as a job of its own on a real runner.
func TestScripts(t *testing.T) {
	rows := []struct {
		name, items string
		status, log string
		code        int32
	}{
		{"a failing command within an item", `["false; echo on"]`, "done", "on\n", 0},
		{"and", `["false && echo no", "echo never"]`, "error", "", 1},
		{"or", `["false || echo on", "echo two"]`, "done", "on\ntwo\n", 0},
		{"the last command of an item counts", `["true; false", "echo never"]`, "error", "", 1},
		{"a block is one item", `["false\necho on\n"]`, "done", "on\n", 0},
		{"an unset variable", `["echo \"<$NOPE>\""]`, "done", "<>\n", 0},
		{"state is kept", `["x=1; f() { echo \"f$x\"; }; cd /", "f; pwd"]`, "done", "f1\n/\n", 0},
		{"exit 0 ends it well", `["exit 0", "echo never"]`, "done", "", 0},
		{"exit 3 ends it", `["echo a; exit 3; echo b", "echo never"]`, "error", "a\n", 3},
		{"an open quote is its own error", `["echo one", "echo 'open", "echo never"]`, "error", "one\n", 2},
		{"an open block is its own error", `["if true; then", "echo never"]`, "error", "", 2},
		{"a background command goes on", `["sleep 0.1 & p=$!", "wait $p; echo \"waited $?\""]`, "done", "waited 0\n", 0},
		{"a command that is not there", `["nosuchcommand"]`, "error", "", 127},
		{"a signal", `["kill -TERM $$"]`, "error", "", 143},
		{"quotes and escapes", `["printf '%s|' \"a b\" 'c d' e\\ f"]`, "done", "a b|c d|e f|\n", 0},
		{"a comment", `["# nothing", "echo on"]`, "done", "on\n", 0},
		{"blank items", `["", "  ", "echo on"]`, "done", "on\n", 0},
		{"pipes", `["false | true", "echo on"]`, "done", "on\n", 0},
		{"set -e of its own", `["set -e; false; echo no", "echo never"]`, "error", "", 1},
		{"a here document", `["cat <<E\nin $TASK_NAME\nE\n"]`, "done", "in a\n", 0},
		{"the shell is bash", `["[[ $BASH_VERSION ]] && a=(1 2); echo ${#a[@]}"]`, "done", "2\n", 0},
		{"the id", `["test {{ .__jobID }} = $JOB_ID && echo same"]`, "done", "same\n", 0},
		{"numbers", `["echo {{ .n }} {{ .big }} {{ .half }} {{ printf \"%d\" .three }} {{ if eq .three 3 }}three{{ end }} {{ if lt .half 3 }}less{{ end }}"]`, "done", "10000000 12345678901234567890 1.5 3 three less\n", 0},
		{"a default", `["echo {{ .none | default \"d\" }} {{ default \"e\" .zero }}"]`, "done", "d e\n", 0},
		{"the environment has it too", `["echo $VAR_n $VAR_list"]`, "done", "10000000 [1,\"x\"]\n", 0},
	}
	var text strings.Builder
	text.WriteString("pipelines:\n")
	for i, row := range rows {
		fmt.Fprintf(&text, "  row%d: {tasks: {a: {script: %s}}}\n", i, row.items)
	}
	w := open(t, text.String())
	const variables = `{"n": 10000000, "big": 12345678901234567890, "half": 1.5, "three": 3.0, "none": null, "zero": 0, "list": [1, "x"]}`
	var vars map[string]any
	d := json.NewDecoder(strings.NewReader(variables))
	d.UseNumber()
	if err := d.Decode(&vars); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, server: w.server, c: w.c}
			job := w.end(w.schedule(fmt.Sprintf("row%d", i), vars).GetId())
			task := job.Task("a")
			out := w.stdout(job, "a")
			if task.GetStatus() != row.status || task.GetExitCode() != row.code || out != row.log {
				t.Errorf("%s with %d, %q: %q; want %s with %d: %q", task.GetStatus(), task.GetExitCode(), task.GetError(), out, row.status, row.code, row.log)
			}
		})
	}
}

// What becomes of the other tasks, of the job and of its handler.
func TestGraphs(t *testing.T) {
	rows := []struct{ name, text, want, lastError string }{
		{"failing fast", `tasks: {a: {script: [exit 3]}, b: {script: [sleep 1000]}, c: {depends_on: b, script: [echo]}, d: {depends_on: a, script: [echo]}}`,
			"errored: a=error/3 b=canceled/130 c=canceled/0 d=skipped/0", "task a: exit status 3"},
		{"going on", `continue_running_tasks_after_failure: yes, tasks: {a: {script: [exit 3]}, b: {script: [sleep 0.1]}, c: {depends_on: b, script: [echo]}, d: {depends_on: [a, b], script: [echo]}}`,
			"errored: a=error/3 b=done/0 c=done/0 d=skipped/0", "task a: exit status 3"},
		{"an allowed failure", `tasks: {a: {allow_failure: on, script: [exit 3]}, b: {depends_on: a, script: [echo]}}`, "completed: a=error/3 b=done/0", ""},
		{"markers", `tasks: {a: {}, b: , c: {depends_on: [a, b], script: ['', ' ']}}`, "completed: a=done/0 b=done/0 c=done/0", ""},
		{"no tasks", `concurrency: 0x2`, "completed: ", ""},
		{"after a skipped one", `tasks: {a: {when: 'false', script: [echo]}, b: {depends_on: a, script: [echo]}, c: {depends_on: a, when: 'tasks.a.status == "skipped"', script: [echo]}}`,
			"completed: a=skipped/0 b=skipped/0 c=done/0", ""},
		{"after a failed one", `continue_running_tasks_after_failure: true, tasks: {a: {script: [exit 2]}, b: {depends_on: a, when: 'tasks.a.exitCode == 2', script: [echo]}}`,
			"errored: a=error/2 b=done/0", "task a: exit status 2"},
		{"a condition that can't be applied", `tasks: {a: {when: 'vars.x > 1', script: [echo]}, b: {depends_on: a, script: [echo]}}`, "errored: a=error/0 b=skipped/0", "task a: cannot apply when"},
		{"a handler", `tasks: {a: {script: ['echo out; echo err >&2; exit 3']}}, on_error: {script: ['test "$(echo $failedTaskStdout $failedTaskStderr $failedTaskExitCode $failedTaskName)" = "out err 3 a"']}`, "errored: a=error/3 on_error=done/0", "task a: exit status 3"},
		{"a handler that fails", `tasks: {a: {script: [exit 3]}}, on_error: {script: [exit 4]}`, "errored: a=error/3 on_error=error/4", "task a: exit status 3"},
		{"a handler that is not needed", `tasks: {a: {script: [echo]}}, on_error: {script: [exit 4]}`, "completed: a=done/0", ""},
		{"nothing after an allowed failure", `tasks: {a: {allow_failure: true, script: [exit 3]}}, on_error: {script: [exit 4]}`, "completed: a=error/3", ""},
		{"a timeout", `tasks: {a: {timeout: 100ms, script: [sleep 1000]}}`, "errored: a=error/124", "task a: timed out"},
		{"a directory", `tasks: {a: {dir: /usr, script: ['test "$(pwd)" = /usr']}}`, "completed: a=done/0", ""},
		{"no such directory", `tasks: {a: {dir: /no/such, script: [echo]}}`, "errored: a=error/125", "task a: "},
		{"a limit", `tasks: {a: {limits: {fileSize: 1K}, script: ['trap "" XFSZ; head -c 5000 /dev/zero >f']}}`, "errored: a=error/1", "task a: exit status 1"},
		{"one runner", `tasks: {a: {on: {runner: r1}, script: ['echo']}}`, "completed: a=done/0", ""},
		{"by its card", `tasks: {a: {on: {where: 'name == "r1"'}, script: [echo]}}`, "completed: a=done/0", ""},
		{"in a pool", `tasks: {a: {on: {pool: default}, script: [echo]}}`, "completed: a=done/0", ""},
	}
	var text strings.Builder
	text.WriteString("pipelines:\n")
	for i, row := range rows {
		fmt.Fprintf(&text, "  row%d: {%s}\n", i, row.text)
	}
	w := open(t, text.String())
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, server: w.server, c: w.c}
			job := w.end(w.schedule(fmt.Sprintf("row%d", i), nil).GetId())
			if show(job) != row.want || !strings.HasPrefix(job.GetLastError(), row.lastError) || row.lastError == "" && job.GetLastError() != "" {
				t.Errorf("%s, %q; want %s, %q", show(job), job.GetLastError(), row.want, row.lastError)
			}
			if job.GetEnd() == nil || !job.GetCompleted() {
				t.Errorf("it has not ended: %v", job)
			}
		})
	}
	job := w.schedule("row0", nil)
	if _, err := w.c.Rerun(w.ctx(), job.GetId(), client.RerunOptions{}); err == nil || !strings.Contains(err.Error(), "has not ended: cancel it, or wait") {
		t.Errorf("run again before its end: %v", err)
	}
	w.end(job.GetId())
}

// stdout is what a task has printed there.
func (w *world) stdout(job *pb.Job, task string) string {
	w.t.Helper()
	var out strings.Builder
	for _, id := range job.Task(task).GetRuns() {
		run, err := w.c.Status(w.ctx(), id)
		if err == nil {
			_, err = w.c.Follow(w.ctx(), run, client.FollowOptions{Live: true}, func(r lines.Record) error {
				if r.Text != nil && r.Stream == lines.Stdout {
					fmt.Fprintf(&out, "%s\n", r.Text)
				}
				return nil
			})
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return out.String()
}
