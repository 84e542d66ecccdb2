package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// send is a request with a token of these scopes, whose JSON answer is read.
func (w *world) send(method, path, body string, into any, scopes ...auth.Scope) int {
	w.t.Helper()
	res, text := w.do(method, path, body, bearer(w.t, scopes...))
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			w.t.Fatalf("%s %s: %d %s: %v", method, path, res.StatusCode, text, err)
		}
	}
	return res.StatusCode
}

type runJSON struct {
	ID, Runner, State, Group, Reason string
	ExitCode                         int
	Tags                             map[string]string
	Compile                          *struct{ Reason string }
}

type startedJSON struct {
	ID, Group string
	Runs      []runJSON
	Fleet     *struct {
		OK, Missing []string
		Failed      map[string]string
	}
}

func TestAPIRuns(t *testing.T) {
	w := open(t)
	var got startedJSON
	if code := w.send("POST", "/api/v1/runs", `{"command":"echo hi; exit 3","tags":{"a":"b","user":"root"},"target":{"on":"r1"},"wait":"20s"}`, &got, auth.ScopeRun); code != 200 {
		t.Fatalf("start: %d %+v", code, got)
	}
	if r := got.Runs[0]; r.State != "COMPLETE" || r.ExitCode != 3 || r.Runner != "r1" || r.ID != got.ID || r.Tags["user"] != "me" || r.Tags["a"] != "b" {
		t.Errorf("%+v", got)
	}
	res, _ := w.do("POST", "/api/v1/runs", `{"argv":["true"]}`, bearer(t, auth.ScopeRun))
	if res.StatusCode != 202 || !strings.HasPrefix(res.Header.Get("Location"), "/api/v1/runs/") {
		t.Errorf("without wait: %d %v", res.StatusCode, res.Header)
	}
	if code := w.send("POST", "/api/v1/runs", `{"script":"#!/bin/bash\nexit 4","target":{"all":true},"wait":"20s"}`, &got, auth.ScopeRun); code != 200 {
		t.Fatalf("all: %d %+v", code, got)
	}
	if got.Group == "" || len(got.Runs) != 1 || got.Runs[0].ExitCode != 4 || got.Fleet == nil || len(got.Fleet.OK) != 1 {
		t.Errorf("all: %+v", got)
	}
	for query, want := range map[string]int{"": 3, "?state=COMPLETE&state=FAILED": 3, "?tag=a%3Db": 1, "?tag=a%3Dc": 0, "?text=EXIT+3": 1,
		"?group=" + got.Group: 1, "?runner=nosuch": 0, "?since=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339): 0,
		"?until=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339): 0} {
		rig.Eventually(t, "the list"+query, func() bool {
			var list struct {
				Runs []runJSON
				Next string
			}
			return w.send("GET", "/api/v1/runs"+query, "", &list) == 200 && len(list.Runs) == want && list.Next == ""
		})
	}
	var page struct {
		Runs []runJSON
		Next string
	}
	seen := map[string]bool{}
	for next := ""; len(seen) < 3; next = page.Next {
		if w.send("GET", "/api/v1/runs?limit=1&next="+next, "", &page) != 200 || len(page.Runs) != 1 || seen[page.Runs[0].ID] {
			t.Fatalf("page: %+v", page)
		}
		seen[page.Runs[0].ID] = true
	}
}

// What is wrong with a task is a 400 in words; what a scope lacks, a 403.
func TestAPIRefusals(t *testing.T) {
	w := open(t)
	for body, want := range map[string]string{
		``:                                  "body is required",
		`{`:                                 "",
		`[]`:                                "expected object",
		`{}`:                                "a task is one of command",
		`{"comand":"x"}`:                    "comand: unexpected property",
		`{"command":5}`:                     "command: expected string",
		`{"command":"x","argv":["y"]}`:      "a task is one of",
		`{"code":"x"}`:                      "code needs a language",
		`{"command":"x","timeout":"5"}`:     `timeout: "5" is not a duration with a unit`,
		`{"command":"x","wait":"31s"}`:      "more than 30s",
		`{"command":"x","isolation":"lax"}`: "isolation: expected value to be one of",
		`{"script":"exit"}`:                 "invalid type",
		`{"command":"x","target":{"on":"a","all":true}}`: "target: one runner was named",
		`{"command":"x","target":{"where":"labels."}}`:   "where: ",
		`{"command":"x","params":[{"name":"a=b"}]}`:      "params",
		`{"command":"x","limits":{"memoryMax":"many"}}`:  "limits.memoryMax",
		`{"command":"x","stdin":"%","stdinBase64":true}`: "stdin: it is not base64",
		`{"command":"x","id":"a b"}`:                     "metadata.id",
	} {
		var got struct{ Error string }
		if code := w.send("POST", "/api/v1/runs", body, &got, auth.ScopeRun); code != 400 || !strings.Contains(got.Error, want) || strings.Contains(got.Error, "spec.") || strings.Contains(got.Error, "\n") {
			t.Errorf("%s: %d %q, want %q", body, code, got.Error, want)
		}
	}
	for _, c := range []struct {
		method, path, body string
		scope              auth.Scope
		want               int
	}{
		{"POST", "/api/v1/runs", `{"command":"x"}`, auth.ScopeRead, 403},
		{"POST", "/api/v1/runs", `{"command":"x"}`, auth.ScopeCode, 403},
		{"POST", "/api/v1/runs", `{"code":"x","language":"python3","user":"root"}`, auth.ScopeCode, 403},
		{"POST", "/api/v1/runs", `{"code":"x","language":"python3","isolation":"none"}`, auth.ScopeCode, 403},
		{"POST", "/api/v1/runs/x/abort", "", auth.ScopeJobs, 403},
		{"GET", "/api/v1/runs", "", auth.ScopeRun, 403},
		{"GET", "/api/v1/runners/r1/glance/dir?path=/", "", auth.ScopeRead, 403},
		{"POST", "/api/v1/maint/clock", "{}", auth.ScopeRun, 403},
		{"DELETE", "/api/v1/runs/x", "", auth.ScopeRun, 403},
		{"POST", "/api/v1/runs/x/abort?wait=x", "", auth.ScopeRun, 400},
		{"GET", "/api/v1/runs?limit=0", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/runs?state=GONE", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/runs?tag=x", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/runs?next=x", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/runs?since=x", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/runners?where=labels.", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/runners/nosuch", "", auth.ScopeRead, 404},
		{"GET", "/api/v1/runners/nosuch/glance/sys", "", auth.ScopeRead, 404},
		{"GET", "/api/v1/pipelines/nosuch", "", auth.ScopeRead, 404},
		{"POST", "/api/v1/pipelines/nosuch/jobs", "", auth.ScopeJobs, 404},
		{"GET", "/api/v1/jobs/nosuch", "", auth.ScopeRead, 400},
		{"GET", "/api/v1/jobs?limit=x", "", auth.ScopeRead, 400},
		{"POST", "/api/v1/runs", `{"command":"x","target":{"on":"nosuch"}}`, auth.ScopeRun, 503},
		{"DELETE", "/api/v1/runners/r1", "", auth.ScopeAdmin, 409},
		{"PUT", "/api/v1/runs", "", auth.ScopeAdmin, 405},
		{"GET", "/api/v1/nosuch", "", auth.ScopeAdmin, 404},
	} {
		var got struct{ Error string }
		if code := w.send(c.method, c.path, c.body, &got, c.scope); code != c.want || got.Error == "" {
			t.Errorf("%s %s %s: %d %q, want %d", c.method, c.path, c.body, code, got.Error, c.want)
		}
	}
	if res, text := w.do("GET", "/api/v1/me", ""); res.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "no token found") {
		t.Errorf("without a token: %d %s", res.StatusCode, text)
	}
}

func TestAPIFleet(t *testing.T) {
	w := open(t)
	type listed struct {
		Runners []struct {
			Name   string
			Online bool
			Seen   time.Time
			Card   struct{ Slots int }
		}
	}
	for query, want := range map[string]int{"": 1, "?text=R1": 1, "?text=zzz": 0, "?pool=default": 1, "?pool=x": 0, "?where=cpus+%3E+0": 1, "?where=cpus+%3C+0": 0} {
		var got listed
		if code := w.send("GET", "/api/v1/runners"+query, "", &got); code != 200 || len(got.Runners) != want {
			t.Errorf("%s: %d %+v", query, code, got)
		}
		if want == 1 && (!got.Runners[0].Online || got.Runners[0].Card.Slots == 0 || time.Since(got.Runners[0].Seen) > time.Hour) {
			t.Errorf("%+v", got)
		}
	}
	var sys struct {
		Resource struct{ Allocatable struct{ MilliCPU int } }
		Stats    struct{ Processes []any }
	}
	if code := w.send("GET", "/api/v1/runners/r1/glance/sys", "", &sys); code != 200 || sys.Resource.Allocatable.MilliCPU == 0 || len(sys.Stats.Processes) != 0 {
		t.Errorf("sys: %d %+v", code, sys)
	}
	if code := w.send("GET", "/api/v1/runners/r1/glance/procs?top=3&sort=memory", "", &sys, auth.ScopeRun); code != 200 || len(sys.Stats.Processes) != 3 {
		t.Errorf("procs: %d %+v", code, sys)
	}
	var dir struct{ Entries []struct{ Name string } }
	if code := w.send("GET", "/api/v1/runners/r1/glance/dir?path=/etc&limit=5", "", &dir, auth.ScopeRun); code != 200 || len(dir.Entries) != 5 || dir.Entries[0].Name != "." {
		t.Errorf("dir: %d %+v", code, dir)
	}
	var file struct {
		Content  []byte
		Readable bool
	}
	if code := w.send("GET", "/api/v1/runners/r1/glance/file?path=/etc/passwd&length=4", "", &file, auth.ScopeRun); code != 200 || string(file.Content) != "root" {
		t.Errorf("file: %d %+v", code, file)
	}
	var hosts struct {
		OK    []string
		Hosts map[string]any
	}
	if code := w.send("GET", "/api/v1/glance/sys", "", &hosts); code != 200 || len(hosts.OK) != 1 || hosts.Hosts["r1"] == nil {
		t.Errorf("all: %d %+v", code, hosts)
	}
	var clock struct {
		Runner      string
		Offset      float64
		Dangerous   bool
		Uncertainty float64
	}
	if code := w.send("POST", "/api/v1/runners/r1/maint/clock", "{}", &clock, auth.ScopeAdmin); code != 200 || clock.Runner != "r1" || clock.Dangerous || clock.Uncertainty <= 0 {
		t.Errorf("clock: %d %+v", code, clock)
	}
	var clocks struct{ Clocks []any }
	if code := w.send("POST", "/api/v1/maint/clock", "{}", &clocks, auth.ScopeAdmin); code != 200 || len(clocks.Clocks) != 1 {
		t.Errorf("clocks: %d %+v", code, clocks)
	}
}

func TestAPIJobs(t *testing.T) {
	w := open(t)
	var job struct {
		ID        string
		Completed bool
		User      string
		Tasks     []struct{ Status string }
	}
	if code := w.send("POST", "/api/v1/pipelines/release/jobs", `{"variables":{"tag":"v1"}}`, &job); code != 202 || job.User != "me" {
		t.Fatalf("schedule: %d %+v", code, job)
	}
	w.ended(job.ID)
	w.send("GET", "/api/v1/jobs/"+job.ID, "", &job)
	if !job.Completed || len(job.Tasks) != 2 || job.Tasks[1].Status != "done" {
		t.Errorf("%+v", job)
	}
	first := job.ID
	if code := w.send("POST", "/api/v1/jobs/"+first+"/rerun", "", &job); code != 202 || job.ID == first {
		t.Errorf("rerun: %d %+v", code, job)
	}
	w.ended(job.ID)
	if code := w.send("POST", "/api/v1/pipelines/slow/jobs", "", &job); code != 202 {
		t.Errorf("slow: %d %+v", code, job)
	}
	if code := w.send("POST", "/api/v1/pipelines/slow/jobs", "", &struct{ Error string }{}); code != 409 && code != 400 {
		t.Errorf("a queue that takes no more: %d", code)
	}
	if code := w.send("POST", "/api/v1/jobs/"+job.ID+"/cancel", `{"reason":"enough"}`, &job); code != 200 {
		t.Errorf("cancel: %d", code)
	}
	w.ended(job.ID)
	var shown struct {
		Pipeline struct {
			Name      string
			Variables []string
		}
		Median struct {
			Seconds float64
			Tasks   map[string]float64
		}
		Jobs []struct{ ID string }
	}
	rig.Eventually(t, "the pipeline with its jobs", func() bool {
		w.send("GET", "/api/v1/pipelines/release", "", &shown)
		return len(shown.Jobs) == 2 && len(shown.Median.Tasks) == 2
	})
	if shown.Pipeline.Name != "release" || len(shown.Pipeline.Variables) != 1 || shown.Median.Seconds <= 0 {
		t.Errorf("%+v", shown)
	}
	var list struct {
		Jobs []struct{ ID string }
		Next string
	}
	if code := w.send("GET", "/api/v1/jobs?pipeline=release&limit=1", "", &list); code != 200 || len(list.Jobs) != 1 || list.Next == "" {
		t.Errorf("jobs: %d %+v", code, list)
	}
	var all struct{ Pipelines []struct{ Name string } }
	if code := w.send("GET", "/api/v1/pipelines", "", &all); code != 200 || len(all.Pipelines) != 3 {
		t.Errorf("pipelines: %d %+v", code, all)
	}
}
