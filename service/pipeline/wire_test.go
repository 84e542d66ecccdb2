package pipeline_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/tests/rig"
)

// wire asks as any NATS client may: JSON on a subject.
type wire struct {
	t  *testing.T
	nc *nats.Conn
}

// asks gives the reply, or the code and the text of an error.
func (w wire) asks(action string) (reply map[string]any, failed string) {
	w.t.Helper()
	return w.sends(`{"kind":"runner","spec":{"pipeline":` + action + `}}`)
}

func (w wire) sends(body string) (reply map[string]any, failed string) {
	w.t.Helper()
	msg, err := w.nc.Request("runner.pipeline.any", []byte(body), time.Minute)
	if err != nil {
		w.t.Fatalf("%.200s: %v", body, err)
	}
	if code := msg.Header.Get("Nats-Service-Error-Code"); code != "" {
		return nil, code + " " + msg.Header.Get("Nats-Service-Error")
	}
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		w.t.Fatalf("%s is no JSON: %v", msg.Data, err)
	}
	return reply, ""
}

func (w wire) good(action string) map[string]any {
	w.t.Helper()
	reply, failed := w.asks(action)
	if failed != "" {
		w.t.Fatalf("%.200s: %s", action, failed)
	}
	return reply
}

// ended asks for a job until it has ended.
func (w wire) ended(id any) (job map[string]any) {
	w.t.Helper()
	rig.EventuallyIn(w.t, time.Minute, "the job has ended", func() bool {
		job = w.good(fmt.Sprintf(`{"job":{"id":%q}}`, id))["job"].(map[string]any)
		return job["completed"] == true
	})
	return job
}

// The names of a job's and of a task's fields, all of which are always there but
// for times that are not known yet.
const (
	jobKeys  = "canceled canceledBy completed continueAfterFailure created end errored id lastError pipeline place queuePartition reason rerunOf start tasks user variablesJson waits"
	taskKeys = "allowFailure asked attempt dependsOn end error exitCode kept missing name number runner runs start status"
)

func keys(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

// Everything that the verb does, asked for in JSON without a client of ours, with
// the names that others rely on.
func TestWire(t *testing.T) {
	world := open(t, "")
	rig.EventuallyIn(t, time.Minute, "the engine leads", world.engine.Leads)
	w := wire{t, rig.Connect(t, world.server)}
	text, err := json.Marshal(`
pipelines:
  p:
    env: {SHOWN: plain}
    tasks:
      a: {script: ['echo {{ .x }}']}
      b: {script: ['test {{ .x }} = good'], depends_on: a}
      c: {script: [echo c], depends_on: b}
  long: {queue_limit: 1, tasks: {a: {script: [sleep 1000]}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	reply := w.good(`{"apply":{"source":"wire","text":` + string(text) + `,"env":{"SECRET":"hush"}}}`)
	if got := reply["pipelines"].([]any); len(got) != 2 || reply["engine"] != "e1" {
		t.Errorf("apply gives %v of %v", got, reply["engine"])
	}
	one := w.good(`{"list":{"name":"p"}}`)["pipelines"].([]any)[0].(map[string]any)
	if got := keys(one); got != "definition name removed running runningJobs schedulable source variables waitingJobs" || fmt.Sprint(one["variables"]) != "[x]" || strings.Contains(fmt.Sprint(one), "hush") {
		t.Errorf("a pipeline has %s: %v", got, one)
	}

	// Variables as an object, or as text with all their digits.
	good := w.good(`{"schedule":{"pipeline":"p","variables":{"x":"good","n":[1,{"y":null}]},"user":"ann"}}`)
	job := w.ended(good["jobId"])
	if got := keys(job); got != jobKeys || job["variablesJson"] != `{"n":[1,{"y":null}],"x":"good"}` {
		t.Errorf("a job has %s: %v", got, job)
	}
	task := job["tasks"].([]any)[1].(map[string]any)
	if got := keys(task); got != taskKeys || task["status"] != "done" || fmt.Sprint(task["runs"]) != fmt.Sprintf("[%s-2]", job["id"]) {
		t.Errorf("a task has %s: %v", got, task)
	}
	digits := w.good(`{"schedule":{"pipeline":"p","variablesJson":"{\"x\": 12345678901234567890}"}}`)
	job = w.ended(digits["jobId"])
	if job["errored"] != true || job["lastError"] != "task b: exit status 1" || job["variablesJson"] != `{"x":12345678901234567890}` {
		t.Errorf("one that fails: %v", job)
	}
	if task := job["tasks"].([]any)[1].(map[string]any); task["exitCode"] != 1.0 || task["error"] != "exit status 1" || task["status"] != "error" {
		t.Errorf("its task: %v", task)
	}

	rerun := w.good(fmt.Sprintf(`{"rerun":{"id":%q,"failed":true,"user":"eve"}}`, job["id"]))
	again := w.ended(rerun["jobId"])
	if kept := again["tasks"].([]any)[0].(map[string]any); again["rerunOf"] != job["id"] || again["user"] != "eve" || kept["kept"] != true || fmt.Sprint(kept["runs"]) != fmt.Sprintf("[%s-1]", job["id"]) {
		t.Errorf("run again: %v", again)
	}
	w.lists(again["id"], job["id"], good["jobId"])
	w.cancels()
	w.refuses()
	w.good(`{"remove":{"name":"p"}}`)
	if _, failed := w.asks(`{"list":{"name":"p"}}`); failed != `404 pipeline "p" is not defined` {
		t.Errorf("a removed one: %s", failed)
	}
}

// lists are pages, the newest first.
func (w wire) lists(want ...any) {
	w.t.Helper()
	var got []any
	for next := ""; ; {
		page := w.good(fmt.Sprintf(`{"jobs":{"pipeline":"p","limit":2,"next":%q}}`, next))
		for _, job := range page["jobs"].([]any) {
			got = append(got, job.(map[string]any)["id"])
		}
		if page["next"] == "" {
			break
		}
		next = page["next"].(string)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("jobs %v, want %v", got, want)
	}
}

func (w wire) cancels() {
	w.t.Helper()
	running := w.good(`{"schedule":{"pipeline":"long"}}`)["jobId"]
	waiting := w.good(`{"schedule":{"pipeline":"long"}}`)["job"].(map[string]any)
	if shown := w.good(fmt.Sprintf(`{"job":{"id":%q}}`, waiting["id"]))["job"].(map[string]any); shown["place"] != 1.0 || shown["start"] != nil {
		w.t.Errorf("one that waits: %v", shown)
	}
	if _, failed := w.asks(`{"schedule":{"pipeline":"long"}}`); failed != "409 concurrency exceeded and queue limit reached for pipeline" {
		w.t.Errorf("a third: %s", failed)
	}
	list := w.good(`{"list":{"name":"long"}}`)["pipelines"].([]any)[0].(map[string]any)
	if list["running"] != true || list["runningJobs"] != 1.0 || list["waitingJobs"] != 1.0 || list["schedulable"] == true {
		w.t.Errorf("a full pipeline: %v", list)
	}
	for _, id := range []any{waiting["id"], running} {
		w.good(fmt.Sprintf(`{"cancel":{"id":%q,"user":"ann","reason":"enough"}}`, id))
		job := w.ended(id)
		if job["canceled"] != true || job["errored"] == true || job["canceledBy"] != "ann" || job["reason"] != "enough" || job["end"] == nil || job["place"] != 0.0 {
			w.t.Errorf("a cancelled one: %v", job)
		}
	}
	w.good(fmt.Sprintf(`{"cancel":{"id":%q}}`, strings.ToUpper(fmt.Sprint(running)))) // changes nothing
}

// refuses has what can't be done, with the code and one line each.
func (w wire) refuses() {
	w.t.Helper()
	large := strings.Repeat("x", 600<<10)
	for _, c := range []struct{ action, want string }{
		{`{}`, "400 "},
		{`{"list":{},"jobs":{}}`, "400 "},
		{`{"nosuch":{}}`, "400 "},
		{`{"schedule":{}}`, "400 "},
		{`{"schedule":{"pipeline":"nosuch"}}`, `404 pipeline "nosuch" is not defined`},
		{`{"schedule":{"pipeline":"p","variablesJson":"[1]"}}`, "400 cannot read variables"},
		{`{"schedule":{"pipeline":"p","variablesJson":"{} {}"}}`, "400 cannot read variables: more follows"},
		{`{"schedule":{"pipeline":"p","variables":{},"variablesJson":"{}"}}`, "400 "},
		{`{"schedule":{"pipeline":"p","variables":{"x":"` + large + `"}}}`, "400 "},
		{`{"job":{"id":"x"}}`, `400 invalid job id "x": it must be a UUID`},
		{`{"job":{"id":"00000000-0000-0000-0000-000000000000"}}`, "404 unknown job 00000000-0000-0000-0000-000000000000"},
		{`{"cancel":{"id":"00000000-0000-0000-0000-000000000000"}}`, "404 unknown job"},
		{`{"rerun":{"id":"00000000-0000-0000-0000-000000000000"}}`, "404 unknown job"},
		{`{"jobs":{"limit":-1}}`, "400 "},
		{`{"jobs":{"next":"!"}}`, "400 invalid next: give back what the reply before had"},
		{`{"apply":{"source":"wire","text":"pipelines:\n  p:\n    concurrency: -1"}}`, "400 wire:3:5: concurrency must be greater than 0"},
		{`{"apply":{"source":"other","text":"pipelines: {p: {}}"}}`, `409 pipeline "p" is in wire as well as in other`},
		{`{"apply":{"text":"pipelines: {}"}}`, "400 "},
		{`{"apply":{"source":"wire","text":"pipelines: {big: {tasks: {a: {script: ['` + strings.Repeat("x", 300<<10) + `']}}}}"}}`, "400 wire:1:13: the definition has "},
		{`{"remove":{"name":"nosuch"}}`, `404 pipeline "nosuch" is not defined`},
	} {
		_, failed := w.asks(c.action)
		if !strings.HasPrefix(failed, c.want) || strings.Contains(failed, "\n") {
			w.t.Errorf("%.80s: %.200q, want %q", c.action, failed, c.want)
		}
	}
	for _, body := range []string{"", "x", "[]", `{"kind":"other","spec":{"pipeline":{"list":{}}}}`, `{"kind":"runner"}`, `{"kind":"runner","metadata":{"id":"x"},"spec":{"pipeline":{"schedule":{"pipeline":"p"}}}}`} {
		if _, failed := w.sends(body); !strings.HasPrefix(failed, "400 ") {
			w.t.Errorf("%s: %q, want 400", body, failed)
		}
	}
}
