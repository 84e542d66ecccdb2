package gateway_test

import (
	"encoding/json"
	"mime"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/runnel-io/runnel/service/gateway/auth"
)

// document is /openapi.json, as far as the test reads it.
type document struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]json.RawMessage }
}

type operation struct {
	Parameters []struct {
		Name, In string
		Required bool
	}
	RequestBody *struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
	Security []map[string][]string
}

// validate says what is wrong with a text by a schema of the document.
func (d *document) validate(t *testing.T, schema json.RawMessage, text string) error {
	t.Helper()
	root := map[string]json.RawMessage{"$defs": nil}
	root["$defs"], _ = json.Marshal(d.Components.Schemas)
	root["allOf"] = json.RawMessage("[" + string(schema) + "]")
	whole, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(whole), "#/components/schemas/", "#/$defs/")), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	return resolved.Validate(value)
}

// find is the operation that a request means.
func (d *document) find(method, path string) (name string, op operation) {
	path, _, _ = strings.Cut(path, "?")
	best := ""
	for pattern, item := range d.Paths {
		if _, ok := item[strings.ToLower(method)]; !ok {
			continue
		}
		re := "^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(pattern), "[^/]+") + "$"
		if regexp.MustCompile(re).MatchString(path) && (best == "" || strings.Count(pattern, "{") < strings.Count(best, "{")) {
			best, op = pattern, item[strings.ToLower(method)]
		}
	}
	return method + " " + best, op
}

// exercise is one request.
type exercise struct{ method, path, body string }

// Each operation of the document is exercised, and what it answers is as its
// schema says; so is every error.
func TestOpenAPI(t *testing.T) {
	w := open(t)
	var doc document
	if code := w.send("GET", "/openapi.json", "", &doc); code != 200 || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%d %s", code, doc.OpenAPI)
	}
	run := w.run(`{"command":"echo hi","wait":"20s"}`)
	job := w.schedule(`{"pipeline":"release","variables":{"tag":"x"}}`)
	w.ended(job)
	slow := w.schedule(`{"pipeline":"slow"}`)
	const python = `print(1)`
	exercised := map[string]bool{}
	for _, c := range append([]exercise{
		{"GET", "/healthz", ""}, {"GET", "/readyz", ""}, {"GET", "/metrics", ""}, {"GET", "/openapi.json", ""},
		{"GET", "/signin", ""}, {"POST", "/signin", `{"token":"` + token(t) + `"}`}, {"POST", "/signout", ""}, {"GET", "/api/v1/me", ""},
		{"GET", "/api/v1/runners?where=cpus+%3E+0", ""}, {"GET", "/api/v1/runners/r1", ""}, {"DELETE", "/api/v1/runners/r1", ""},
		{"GET", "/api/v1/runners/r1/glance/sys", ""}, {"GET", "/api/v1/runners/r1/glance/procs?top=2", ""},
		{"GET", "/api/v1/runners/r1/glance/dir?path=/etc", ""}, {"GET", "/api/v1/runners/r1/glance/file?path=/etc/passwd", ""},
		{"GET", "/api/v1/glance/sys", ""}, {"POST", "/api/v1/runners/r1/maint/clock", "{}"}, {"POST", "/api/v1/maint/clock", `{"target":{"pool":"default"}}`},
		{"POST", "/api/v1/runs", `{"command":"true","tags":{"a":"b"},"limits":{"memoryMax":"64M"},"params":[{"name":"A","value":"b"}],"target":{"on":"r1"},"wait":"20s"}`},
		{"POST", "/api/v1/runs", `{"argv":["true"],"target":{"all":true}}`},
		{"GET", "/api/v1/runs?state=COMPLETE&limit=5", ""}, {"GET", "/api/v1/runs/" + run, ""}, {"GET", "/api/v1/runs/" + run + "/log?stream=stdout", ""},
		{"GET", "/api/v1/runs/" + run + "/lines", ""}, {"GET", "/api/v1/runs/" + run + "/events", ""}, {"GET", "/api/v1/runs/" + run + "/log/search?q=hi", ""},
		{"GET", "/api/v1/last-lines?run=" + run, ""}, {"GET", "/api/v1/events?topics=log:" + run, ""}, {"POST", "/api/v1/runs/" + run + "/abort", ""}, {"DELETE", "/api/v1/runs/" + run, ""},
		{"GET", "/api/v1/pipelines", ""}, {"GET", "/api/v1/pipelines/release", ""}, {"GET", "/api/v1/pipelines/release/graph", ""}, {"GET", "/api/v1/jobs/" + job + "/graph", ""}, {"POST", "/api/v1/pipelines/release/jobs", `{"variables":{"tag":"y"}}`},
		{"GET", "/api/v1/jobs?limit=2", ""}, {"GET", "/api/v1/jobs/" + job, ""}, {"POST", "/api/v1/jobs/" + slow + "/cancel", `{"reason":"x"}`}, {"POST", "/api/v1/jobs/" + job + "/rerun", ""},
		{"GET", "/pipelines", ""}, {"GET", "/pipelines/", ""}, {"GET", "/pipelines/jobs", ""}, {"POST", "/pipelines/schedule", `{"pipeline":"release","variables":{"tag":"z"}}`},
		{"GET", "/job/detail?id=" + job, ""}, {"GET", "/job/logs?id=" + job + "&task=lint", ""}, {"GET", "/job/logs/stream?id=" + job + "&task=lint", ""}, {"POST", "/job/cancel?id=" + job, ""},
		{"GET", "/api/v1/languages", ""}, {"POST", "/api/v1/run", `{"source":"print(1)","language":"python3"}`},
		{"GET", "/api/v2/runtimes", ""}, {"GET", "/api/v2/packages", ""}, {"POST", "/api/v2/packages", ""}, {"DELETE", "/api/v2/packages", ""}, {"GET", "/api/v2/connect", ""},
		{"POST", "/api/v2/execute", `{"language":"python","version":"*","files":[{"content":"` + python + `"}]}`},
		{"POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`},
		{"GET", "/api/v2/piston/runtimes", ""}, {"GET", "/api/v2/piston/packages", ""}, {"POST", "/api/v2/piston/packages", ""}, {"DELETE", "/api/v2/piston/packages", ""}, {"GET", "/api/v2/piston/connect", ""},
		{"POST", "/api/v2/piston/execute", `{"language":"python","version":"*","files":[{"name":"a.py","content":"` + python + `"}],"args":["x"],"stdin":"y"}`},
	}, ofQueueAndSchedules...) {
		name, op := doc.find(c.method, c.path)
		if op.Responses == nil {
			t.Errorf("%s %s is not described", c.method, c.path)
			continue
		}
		if c.body != "" && op.RequestBody != nil {
			if err := doc.validate(t, op.RequestBody.Content["application/json"].Schema, c.body); err != nil {
				t.Errorf("%s: the request: %v", name, err)
			}
		}
		headers := []string{bearer(t, auth.ScopeAdmin), "Accept: application/json, text/event-stream"}
		if c.body != "" {
			headers = append(headers, "Content-Type: application/json")
		}
		res, text := w.do(c.method, c.path, c.body, headers...)
		answer, described := op.Responses[res.Status[:3]]
		if !described {
			answer = op.Responses["default"]
		}
		kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
		exercised[name] = true
		if len(answer.Content) == 0 && text == "" {
			continue
		}
		media, ok := answer.Content[kind]
		if !ok {
			t.Errorf("%s: %d %s is not described: %.200s", name, res.StatusCode, kind, text)
		} else if kind == "application/json" {
			if err := doc.validate(t, media.Schema, text); err != nil {
				t.Errorf("%s: %v\n%.300s", name, err, text)
			}
		}
		// Without a token each says 401, as described.
		if len(op.Security) > 0 {
			res, text := w.do(c.method, c.path, c.body)
			if err := doc.validate(t, errorSchema(op), text); res.StatusCode != 401 || err != nil {
				t.Errorf("%s without a token: %d %s: %v", name, res.StatusCode, text, err)
			}
		}
	}
	for path, item := range doc.Paths {
		for method := range item {
			if name := strings.ToUpper(method) + " " + path; !exercised[name] {
				t.Errorf("%s is described and was not tried", name)
			}
		}
	}
}

func errorSchema(op operation) json.RawMessage {
	for _, code := range []string{"401", "default"} {
		if r, ok := op.Responses[code]; ok {
			return r.Content["application/json"].Schema
		}
	}
	return nil
}

// A route's scope is in the document, and is what it is refused without.
func TestOpenAPIScopes(t *testing.T) {
	w := open(t)
	var doc document
	w.send("GET", "/openapi.json", "", &doc)
	all := []auth.Scope{auth.ScopeRead, auth.ScopeJobs, auth.ScopeCode, auth.ScopeRun}
	for path, item := range doc.Paths {
		for method, op := range item {
			if len(op.Security) == 0 || len(op.Security[0]["token"]) == 0 || path == "/api/v1/events" {
				continue
			}
			needs := auth.Scope(op.Security[0]["token"][0])
			var others []auth.Scope
			for _, s := range all {
				if !(auth.Caller{Scopes: []auth.Scope{s}}).May(needs) {
					others = append(others, s)
				}
			}
			target := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "x")
			res, text := w.do(strings.ToUpper(method), target, "", bearer(t, others...))
			if res.StatusCode != 403 || !strings.Contains(text, "needs scope "+string(needs)) {
				t.Errorf("%s %s with %v: %d %s", method, path, others, res.StatusCode, text)
			}
		}
	}
	if !slices.Contains(all, auth.ScopeRead) {
		t.Fatal("no scopes")
	}
}
