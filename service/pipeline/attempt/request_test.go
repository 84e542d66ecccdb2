package attempt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/records"
)

// parse reads the pipeline p of a file.
func parse(t *testing.T, text string) *definition.Pipeline {
	t.Helper()
	all, err := definition.Parse("test", []byte("pipelines: {p: "+text+"}"))
	if err != nil {
		t.Fatal(err)
	}
	return all["p"]
}

// of makes an attempt at task a of a pipeline.
func of(t *testing.T, text string, vars map[string]any, in records.Input) *Attempt {
	t.Helper()
	in.Definition = parse(t, text)
	job := &Job{ID: "job", Pipeline: "p", Variables: vars, Input: in}
	task := &pb.JobTask{Name: "a", Number: 3, Attempt: 2}
	return New(&Fleet{MaxPayload: 1 << 20}, job, task, in.Definition.Tasks["a"])
}

func envOf(req *pb.TaskRequest) map[string]string {
	env := map[string]string{}
	for _, p := range req.GetSpec().GetTask().GetParams() {
		env[p.GetName()] = p.GetValue()
	}
	return env
}

func TestRequest(t *testing.T) {
	a := of(t, `{env: {LOW: pipeline, HIGH: pipeline, LITERAL: $HOME}, tasks: {a: {
		script: ['echo {{ .x }} {{ .HIGH }}'], env: {HIGH: task, TASK_NAME: mine}, timeout: 90s, limits: {memoryMax: 64M, cpuTime: 5s}, isolation: strict}}}`,
		map[string]any{"x": int64(5), "HIGH": "variable"}, records.Input{Env: map[string]string{"LOW": "file", "FILE": "file", "VAR_x": "file"}})
	req, err := a.request()
	if err != nil {
		t.Fatal(err)
	}
	task := req.GetSpec().GetTask()
	want := map[string]string{"LOW": "pipeline", "HIGH": "task", "FILE": "file", "VAR_x": "5", "VAR_HIGH": "variable", "TASK_NAME": "a", "JOB_ID": "job"}
	if got := envOf(req); !maps.Equal(got, want) {
		t.Errorf("environment %v\nwant %v", got, want)
	}
	script := string(task.GetFile().GetContent())
	if !strings.HasPrefix(script, "#!/bin/bash\nexport LITERAL='$HOME'\n") || !strings.Contains(script, "echo 5 variable") {
		t.Errorf("script %q", script)
	}
	if req.GetMetadata().GetId() != "job-3-a2" || req.GetMetadata().GetName() != "p/a" || task.GetTags()["task"] != "a" || task.GetTags()["job"] != "job" || task.GetTags()["pipeline"] != "p" {
		t.Errorf("%v, tags %v", req.GetMetadata(), task.GetTags())
	}
	if task.GetTimeout() != "1m30s" || task.GetGrace() != "2s" || task.GetIsolation() != "strict" || task.GetDir() != pb.OwnDir {
		t.Errorf("timeout %s, grace %s, isolation %s, dir %s", task.GetTimeout(), task.GetGrace(), task.GetIsolation(), task.GetDir())
	}
	if limits, err := task.GetLimits().Named(); err != nil || limits["memoryMax"] != "64M" || limits["cpuTime"] != "5s" {
		t.Errorf("limits %v, %v", limits, err)
	}
	again, err := a.request()
	if err != nil || !proto.Equal(req, again) {
		t.Errorf("another engine would ask otherwise: %v", err)
	}
}

func TestDirAndTarget(t *testing.T) {
	for _, c := range []struct{ task, dir, runner, wantDir, wantOn string }{
		{"{script: [x]}", "", "", pb.OwnDir, ""},
		{"{script: [x]}", "/srv", "here", "/srv", "here"},
		{"{script: [x], dir: /own}", "/srv", "here", "/own", "here"},
		{"{script: [x], on: {pool: p}}", "/srv", "here", "/srv", ""},
		{"{script: [x], on: {runner: there}}", "", "here", pb.OwnDir, "there"},
		{"{script: [x], language: {name: python}}", "/srv", "", "", ""},
	} {
		a := of(t, "{tasks: {a: "+c.task+"}}", nil, records.Input{Dir: c.dir, Runner: c.runner})
		req, err := a.request()
		if err != nil {
			t.Fatal(err)
		}
		if got := req.GetSpec().GetTask().GetDir(); got != c.wantDir || a.target().On != c.wantOn {
			t.Errorf("%s in %q by %q: dir %q, on %q; want %q, %q", c.task, c.dir, c.runner, got, a.target().On, c.wantDir, c.wantOn)
		}
	}
}

func TestDescribe(t *testing.T) {
	for task, want := range map[string]string{
		"{}":                                  "any",
		"{on: {all: true}}":                   "any",
		"{on: {pool: db}}":                    "pool db",
		"{on: {runner: web1}}":                "runner web1",
		"{on: {pool: db, where: 'cpus > 1'}}": "pool db, where cpus > 1",
		"{on: {all: true, where: 'name == \"x\"'}}": `where name == "x"`,
	} {
		if got := of(t, "{tasks: {a: "+task+"}}", nil, records.Input{}).describe(); got != want {
			t.Errorf("%s: %q, want %q", task, got, want)
		}
	}
}

// Values that an environment can't hold are left out, and are never an error.
func TestVariablesEnv(t *testing.T) {
	long := strings.Repeat("x", maxEnvVariable)
	for _, c := range []struct {
		name string
		vars map[string]any
		want map[string]string
	}{
		{"kinds", map[string]any{"t": "a b", "n": int64(12), "f": definition.Number(1.5), "b": true, "null": nil, "l": []any{"x", int64(1)}, "o": map[string]any{"k": "<"}},
			map[string]string{"VAR_t": "a b", "VAR_n": "12", "VAR_f": "1.5", "VAR_b": "true", "VAR_null": "", "VAR_l": `["x",1]`, "VAR_o": `{"k":"<"}`}},
		{"hostile values stay what they are", map[string]any{"v": "$(id) `id` \"';\n{{ .x }}"}, map[string]string{"VAR_v": "$(id) `id` \"';\n{{ .x }}"}},
		{"names", map[string]any{"a-b": 1, "a.b": 1, "": 1, "ü": 1, "a=b": 1, "a b": 1, "ok_1": "y"}, map[string]string{"VAR_ok_1": "y"}},
		{"NUL", map[string]any{"a": "x\x00y", "b": "z"}, map[string]string{"VAR_b": "z"}},
		{"too long", map[string]any{"a": long + "x", "b": long}, map[string]string{"VAR_b": long}},
		{"none", nil, map[string]string{}},
	} {
		if got := variablesEnv(c.vars); !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v", c.name, slices.Sorted(maps.Keys(got)))
		}
	}
	many := map[string]any{}
	for i := range 20 {
		many[fmt.Sprintf("v%02d", i)] = long
	}
	total := 0
	for name, value := range variablesEnv(many) {
		total += len(name) + len(value)
	}
	if total > maxEnvVariables || total < maxEnvVariables-2*maxEnvVariable {
		t.Errorf("%d bytes of variables are in the environment", total)
	}
}

func TestRequestErrors(t *testing.T) {
	for _, c := range []struct{ name, task, want string }{
		{"a variable that is missing", `{script: [echo, "one\n{{ .nope }}"]}`, `cannot render script item 2, line 2: the job has no variable "nope"`},
		{"too large", `{script: ['{{ .big }}', '{{ .big }}']}`, "a request takes"},
		{"never rendered twice", `{script: ['{{ .evil }}']}`, ""},
	} {
		a := of(t, "{tasks: {a: "+c.task+"}}", map[string]any{"big": strings.Repeat("x", 600<<10), "evil": "{{ .nope }}"}, records.Input{})
		if c.name != "too large" {
			delete(a.job.Variables, "big")
		}
		req, err := a.request()
		if c.want == "" {
			if err != nil || !strings.Contains(string(req.GetSpec().GetTask().GetFile().GetContent()), "{{ .nope }}") {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestResultOf(t *testing.T) {
	for _, c := range []struct {
		run         *pb.Run
		code        int
		text, cause string
		canceled    bool
	}{
		{&pb.Run{State: pb.State_COMPLETE}, 0, "", "", false},
		{&pb.Run{State: pb.State_COMPLETE, ExitCode: 3}, 3, "exit status 3", "exit", false},
		{&pb.Run{State: pb.State_COMPLETE, Signal: "SIGKILL", ExitCode: 137}, 137, "killed by SIGKILL", "signal", false},
		{&pb.Run{State: pb.State_COMPLETE, Signal: "SIGSEGV"}, 139, "killed by SIGSEGV", "signal", false},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "oom", Signal: "SIGKILL"}, 137, "out of memory", "oom", false},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "output-limit"}, 137, "more output than its limit", "exit", false},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "output-limit", Signal: "SIGPIPE"}, 141, "more output than its limit", "signal", false},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "cpu-limit", ExitCode: 1}, 1, "more processor time than its limit", "exit", false},
		{&pb.Run{State: pb.State_COMPLETE, Reason: "cpu-limit", Signal: "SIGKILL"}, 137, "more processor time than its limit", "signal", false},
		{&pb.Run{State: pb.State_TIMEDOUT}, 124, "timed out", "timeout", false},
		{&pb.Run{State: pb.State_ABORTED}, 130, "aborted", "", true},
		{&pb.Run{State: pb.State_FAILED, Reason: "lost", Error: "the runner died"}, 125, "the runner died", "lost", false},
		{&pb.Run{State: pb.State_FAILED, Reason: "rejected"}, 125, "FAILED rejected", "", false},
	} {
		got := resultOf(c.run)
		if got.ExitCode != c.code || got.Text != c.text || got.Cause != c.cause || got.Canceled != c.canceled {
			t.Errorf("%v: %+v", c.run, got)
		}
	}
}

// Whoever expects a run hears of its end alone, and of a record that is gone.
func TestEnds(t *testing.T) {
	e := NewEnds()
	mine, forget := e.expect("mine")
	saw := func(id string, state pb.State) {
		e.saw(id, func() (*pb.Run, error) {
			if id != "mine" {
				t.Errorf("the record of %s was read", id)
			}
			return &pb.Run{Id: id, State: state}, nil
		})
	}
	saw("other", pb.State_COMPLETE)
	saw("mine", pb.State_RUNNING)
	select {
	case run := <-mine:
		t.Errorf("heard of %v", run)
	default:
	}
	saw("mine", pb.State_COMPLETE)
	saw("mine", pb.State_COMPLETE) // nobody has to be there for the second
	if run := <-mine; run.GetState() != pb.State_COMPLETE {
		t.Errorf("heard of %v", run)
	}
	e.saw("mine", nil)
	if run := <-mine; run != nil {
		t.Errorf("a record that is gone: %v", run)
	}
	forget()
	e.saw("mine", func() (*pb.Run, error) { t.Error("read for nobody"); return nil, nil })
	if len(e.waiting) != 0 {
		t.Errorf("%d left", len(e.waiting))
	}
}

// An attempt's end of somebody else's is not forgotten with one's own.
func TestEndsOfTwo(t *testing.T) {
	e := NewEnds()
	_, forgetOld := e.expect("run")
	again, forget := e.expect("run")
	forgetOld()
	e.saw("run", func() (*pb.Run, error) { return &pb.Run{State: pb.State_ABORTED}, nil })
	select {
	case <-again:
	case <-time.After(time.Second):
		t.Error("the second one heard nothing")
	}
	forget()
}

// Whom a task on all asks: those of its start, at the second attempt without those
// on whom it ended well and with those who were offline.
func TestWhom(t *testing.T) {
	a := of(t, "{tasks: {a: {on: {all: true}}}}", nil, records.Input{})
	a.Task.Asked, a.Task.Missing = []string{"a", "c"}, []string{"b"}
	for _, c := range []struct {
		attempt       int32
		good          map[string]string
		only, missing string
	}{
		{1, nil, "a c", "b"},
		{2, map[string]string{"a": "run"}, "b c", ""},
		{2, nil, "a b c", ""},
		{3, map[string]string{"a": "1", "b": "2", "c": "3"}, "", ""},
	} {
		a.Task.Attempt = c.attempt
		only, missing := a.whom(c.good)
		if strings.Join(only, " ") != c.only || strings.Join(missing, " ") != c.missing {
			t.Errorf("attempt %d after %v: %v, missing %v", c.attempt, c.good, only, missing)
		}
	}
	if strings.Join(a.Task.GetAsked(), " ") != "a c" {
		t.Errorf("the record was changed: %v", a.Task.GetAsked())
	}
}
