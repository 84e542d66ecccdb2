package gateway_test

import (
	"github.com/runnel-io/runnel/service/gateway/auth"

	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

func TestRuns(t *testing.T) {
	w := open(t)
	w.apply("pipelines:\n  five:\n    tasks:\n      a: {script: ['seq 1 5; sleep 0.3; echo six >&2; sleep 0.3; printf seven']}\n")
	id := w.schedule(`{"pipeline":"five"}`)
	w.ended(id)
	base := "/api/v1/runs/" + id + "-1"
	var run struct{ ID, State, Reason string }
	w.get(base, &run)
	if run.ID != id+"-1" || run.State != "COMPLETE" || run.Reason != "exit" {
		t.Errorf("%+v", run)
	}
	for query, want := range map[string]string{
		"":                      "1\n2\n3\n4\n5\nsix\nseven",
		"?stream=stderr":        "six\n",
		"?from=5":               "5\nsix\nseven",
		"?from=5&stream=stdout": "5\nseven",
		"?tail=2":               "six\nseven",
		"?tail=2&stream=stdout": "5\nseven",
		"?from=99":              "",
	} {
		res, text := w.do("GET", base+"/log"+query, "", bearer(t))
		if res.StatusCode != 200 || text != want {
			t.Errorf("log%s: %d %q, want %q", query, res.StatusCode, text, want)
		}
		if res, _ := w.do("GET", base+"/log"+query, "", bearer(t), "If-None-Match: "+res.Header.Get("ETag")); res.StatusCode != 304 {
			t.Errorf("log%s with its tag: %d", query, res.StatusCode)
		}
	}
	if res, text := w.do("GET", base+"/log?stream=stdout", "", bearer(t), "Range: bytes=2-4"); res.StatusCode != 206 || text != "2\n3" {
		t.Errorf("range: %d %q", res.StatusCode, text)
	}
	for _, query := range []string{"?stream=x", "?from=0", "?from=x", "?tail=0", "?tail=1&from=1"} {
		if res, text := w.do("GET", base+"/log"+query, "", bearer(t)); res.StatusCode != 400 || !strings.HasPrefix(text, `{"error":`) {
			t.Errorf("log%s: %d %s", query, res.StatusCode, text)
		}
	}
	for _, path := range []string{"", "/log"} {
		if res, text := w.do("GET", "/api/v1/runs/nosuch"+path, "", bearer(t)); res.StatusCode != 404 || text != `{"error":"Run not found"}` {
			t.Errorf("unknown%s: %d %s", path, res.StatusCode, text)
		}
	}
}

func TestAbort(t *testing.T) {
	w := open(t)
	id := w.schedule(`{"pipeline":"slow"}`)
	base := "/api/v1/runs/" + id + "-1"
	rig.Eventually(t, "it runs", func() bool {
		_, text := w.do("GET", base, "", bearer(t))
		return strings.Contains(text, "RUNNING")
	})
	// A token without scopes, and one for jobs, may not end a run.
	for _, scopes := range [][]auth.Scope{nil, {auth.ScopeRead, auth.ScopeJobs}} {
		if res, text := w.do("POST", base+"/abort", "", bearer(t, scopes...)); res.StatusCode != 403 {
			t.Errorf("with %v: %d %s", scopes, res.StatusCode, text)
		}
	}
	res, text := w.do("POST", base+"/abort", "", bearer(t, auth.ScopeRun))
	var run struct{ ID string }
	if err := json.Unmarshal([]byte(text), &run); err != nil || res.StatusCode != 200 || run.ID != id+"-1" {
		t.Errorf("abort: %d %s", res.StatusCode, text)
	}
	w.ended(id)
	var ended struct {
		State, AbortedBy string
		AbortedAt        time.Time
	}
	w.get(base, &ended)
	if ended.State != "ABORTED" || !strings.HasPrefix(ended.AbortedBy, "me via gateway ") || time.Since(ended.AbortedAt).Abs() > time.Hour {
		t.Errorf("%+v", ended)
	}
	if res, _ := w.do("POST", "/api/v1/runs/nosuch/abort", "", bearer(t, auth.ScopeRun)); res.StatusCode != 404 {
		t.Errorf("unknown: %d", res.StatusCode)
	}
}
