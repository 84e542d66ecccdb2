package gateway_test

import (
	"github.com/runnel-io/runnel/service/gateway/auth"

	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	goleak.VerifyTestMain(m)
}

// transport does not ask for compression by itself.
var transport = &http.Transport{DisableCompression: true}

const secret = "sixteen bytes at least"

const definitions = `
pipelines:
  release:
    tasks:
      lint: {script: ['echo "lint {{ .tag }}"; echo warn >&2']}
      test: {script: ['printf "a\"<\n\\tb"'], depends_on: lint}
  fails:
    tasks:
      a: {script: [exit 3]}
      b: {script: [echo no], depends_on: a}
  slow:
    queue_limit: 0
    tasks:
      wait: {script: [sleep 100]}
`

// world is a fleet of one runner with an engine, and a gateway.
type world struct {
	t     *testing.T
	fleet *fleet.Fleet
	url   string
}

func open(t *testing.T, change ...func(*gateway.Config)) *world {
	t.Helper()
	f := fleet.New(t)
	r, err := service.Start(rig.Within(t, time.Minute), f.Conn(), service.Config{Name: "r1", DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	e, err := pipeline.Start(rig.Within(t, time.Minute), f.Conn(), pipeline.Config{Name: "e1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if _, err := f.Client().Apply(rig.Within(t, time.Minute), definitions, client.ApplyOptions{Source: "test"}); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, fleet: f}
	w.url = w.gateway(change...)
	return w
}

func (w *world) gateway(change ...func(*gateway.Config)) string {
	w.t.Helper()
	cfg := gateway.Config{Secret: secret, Logger: rig.Logger(w.t)}
	for _, c := range change {
		c(&cfg)
	}
	_, url := w.start(cfg)
	return url
}

func (w *world) start(cfg gateway.Config) (g *gateway.Gateway, url string) {
	w.t.Helper()
	g, err := gateway.New(rig.Within(w.t, time.Minute), w.fleet.Conn(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(g.Close)
	server := httptest.NewServer(g.Handler())
	w.t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	return g, server.URL
}

func token(t testing.TB, scopes ...auth.Scope) string {
	t.Helper()
	text, err := auth.Token(secret, "me", scopes, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// do sends a request as a header "Name: value" list says, and reads the answer.
func (w *world) do(method, path, body string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(rig.Within(w.t, time.Minute), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(text)
}

func bearer(t *testing.T, scopes ...auth.Scope) string {
	return "Authorization: Bearer " + token(t, scopes...)
}

func (w *world) get(path string, into any) {
	w.t.Helper()
	res, text := w.do("GET", path, "", bearer(w.t))
	if res.StatusCode != 200 {
		w.t.Fatalf("GET %s: %d %s", path, res.StatusCode, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.t.Fatalf("GET %s: %v in %s", path, err, text)
	}
}

// schedule starts a job as an old client does, without a Content-Type.
func (w *world) schedule(body string) string {
	w.t.Helper()
	res, text := w.do("POST", "/pipelines/schedule", body, bearer(w.t))
	var reply struct{ JobID string }
	if err := json.Unmarshal([]byte(text), &reply); err != nil || res.StatusCode != 202 || reply.JobID == "" {
		w.t.Fatalf("schedule: %d %s", res.StatusCode, text)
	}
	return reply.JobID
}

// job is what a strict old client takes a job for.
type job struct {
	ID, Pipeline      string
	Tasks             []task
	Completed         bool
	Canceled, Errored bool
	Created           string
	Start, End        *string
	LastError         string
	Variables         map[string]any
	User              string
}

type task struct {
	Name      string
	DependsOn []string
	Status    string
	Start     *string
	End       *string
	Skipped   bool
	ExitCode  int
	Errored   bool
	Error     string
}

func (w *world) ended(id string) (j job) {
	w.t.Helper()
	rig.Eventually(w.t, "job "+id+" completes", func() bool {
		w.get("/job/detail?id="+id, &j)
		return j.Completed
	})
	return j
}

func TestPrunner(t *testing.T) {
	w := open(t)
	var list struct {
		Pipelines []struct {
			Pipeline             string
			Schedulable, Running bool
		}
		Jobs []job
	}
	w.get("/pipelines", &list)
	w.get("/pipelines/", &list)
	if fmt.Sprint(list.Pipelines) != "[{fails true false} {release true false} {slow true false}]" {
		t.Errorf("pipelines: %v", list.Pipelines)
	}
	w.get("/pipelines/jobs", &list)
	if list.Jobs == nil || len(list.Jobs) != 0 {
		t.Errorf("jobs is %v, want []", list.Jobs)
	}

	id := w.schedule(`{"pipeline":"release","variables":{"tag":"v1","list":{"0":"a","1":"b"}}}`)
	j := w.ended(id)
	if j.Pipeline != "release" || j.User != "me" || j.Errored || j.Canceled || len(j.Tasks) != 2 || j.Tasks[1].DependsOn[0] != "lint" {
		t.Errorf("job: %+v", j)
	}
	for _, at := range []*string{&j.Created, j.Start, j.End, j.Tasks[0].Start, j.Tasks[0].End} {
		if _, err := time.Parse("2006-01-02T15:04:05Z", *at); err != nil {
			t.Errorf("a time that is not in whole seconds, UTC: %v", err)
		}
	}
	var logs struct{ Stdout, Stderr string }
	w.get("/job/logs?id="+id+"&task=lint", &logs)
	if logs.Stdout != "lint v1\n" || logs.Stderr != "warn\n" {
		t.Errorf("logs of lint: %+v", logs)
	}
	w.get("/job/logs?id="+id+"&task=test", &logs)
	if logs.Stdout != "a\"<\n\tb" || logs.Stderr != "" {
		t.Errorf("logs of test: %+v", logs)
	}
	if _, text := w.do("GET", "/job/logs?id="+id+"&task=test&stream=stdout&tail=1", "", bearer(t)); text != "\tb" {
		t.Errorf("tail: %q", text)
	}

	failed := w.ended(w.schedule(`{"pipeline":"fails","variables":[]}`))
	if !failed.Errored || failed.LastError == "" || !failed.Tasks[0].Errored || failed.Tasks[0].ExitCode != 3 || !failed.Tasks[1].Skipped {
		t.Errorf("failed job: %+v", failed)
	}
	w.get("/pipelines/jobs", &list)
	if len(list.Jobs) != 2 || list.Jobs[0].ID != failed.ID {
		t.Errorf("jobs, newest first: %+v", list.Jobs)
	}

	slow := w.schedule(`{"pipeline":"slow"}`)
	if res, text := w.do("POST", "/pipelines/schedule", `{"pipeline":"slow"}`, bearer(t)); res.StatusCode != 400 ||
		text != `{"error":"Error scheduling pipeline: concurrency exceeded and queueing disabled for pipeline"}` {
		t.Errorf("a second one: %d %s", res.StatusCode, text)
	}
	if res, text := w.do("POST", "/job/cancel?id="+slow, "", bearer(t)); res.StatusCode != 200 || text != "true" {
		t.Errorf("cancel: %d %s", res.StatusCode, text)
	}
	if j := w.ended(slow); !j.Canceled || j.Errored || j.Tasks[0].Status != "canceled" {
		t.Errorf("cancelled job: %+v", j)
	}
}

func TestPrunnerErrors(t *testing.T) {
	w := open(t)
	const unknown = "11111111-1111-1111-1111-111111111111"
	id := w.schedule(`{"pipeline":"fails"}`)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/pipelines/schedule", `{"pipeline":"x"}`, 400, `{"error":"Error scheduling pipeline: pipeline \"x\" is not defined"}`},
		{"POST", "/pipelines/schedule", `{`, 400, `{"error":"Error decoding JSON: `},
		{"POST", "/pipelines/schedule", ``, 400, `{"error":"Error decoding JSON: `},
		{"POST", "/pipelines/schedule", `{"pipeline":"fails","variables":"x"}`, 400, `{"error":"Error decoding JSON: `},
		{"GET", "/pipelines/schedule", ``, 405, `{"error":`},
		{"GET", "/job/detail?id=x", ``, 400, `{"error":"Invalid job id"}`},
		{"GET", "/job/detail", ``, 400, `{"error":"Invalid job id"}`},
		{"GET", "/job/detail?id=" + unknown, ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id={" + strings.ToUpper(unknown) + "}", ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id=urn:uuid:" + unknown, ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id=" + strings.ReplaceAll(unknown, "-", ""), ``, 404, `{"error":"Job not found"}`},
		{"GET", "/job/detail?id=x" + unknown + "y", ``, 400, `{"error":"Invalid job id"}`},
		{"GET", "/job/logs?id=" + id, ``, 400, `{"error":"Invalid task name"}`},
		{"GET", "/job/logs?id=" + id + "&task=x", ``, 404, `{"error":"Task not found"}`},
		{"GET", "/job/logs?id=" + unknown + "&task=x", ``, 404, `{"error":"Job not found"}`},
		{"POST", "/job/cancel?id=" + unknown, ``, 404, `{"error":"Job not found"}`},
		{"GET", "/pipelines/jobs?limit=0", ``, 400, `{"error":`},
		{"GET", "/nosuch", ``, 404, `{"error":`},
	} {
		res, text := w.do(c.method, c.path, c.body, bearer(t))
		if res.StatusCode != c.code || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s %s %s: %d %s; want %d %s", c.method, c.path, c.body, res.StatusCode, text, c.code, c.want)
		}
		if c.code == 405 && res.Header.Get("Allow") != "POST" {
			t.Errorf("405 with Allow %q", res.Header.Get("Allow"))
		}
	}
	w.ended(id)
}

func TestTokens(t *testing.T) {
	w := open(t)
	make := func(secret, sub string, scopes []auth.Scope, life time.Duration) string {
		text, err := auth.Token(secret, sub, scopes, life)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	expired := make(secret, "x", nil, time.Nanosecond)
	good := make(secret, "x", nil, 0)
	for _, c := range []struct {
		name, header string
		code         int
		want         string
	}{
		{"none", "X: y", 401, `{"error":"no token found"}`},
		{"another secret", "Authorization: Bearer " + make("another secret of 16", "x", nil, 0), 401, `{"error":"token is unauthorized"}`},
		{"garbage", "Authorization: Bearer a.b.c", 401, `{"error":"token is unauthorized"}`},
		{"expired", "Authorization: Bearer " + expired, 401, `{"error":"token is expired"}`},
		{"good", "Authorization: Bearer " + good, 200, ""},
		{"lower case", "Authorization: bearer " + good, 200, ""},
		{"cookie of old clients", "Cookie: jwt=" + good, 200, ""},
		{"our cookie", "Cookie: runnel_runner=" + good, 200, ""},
		{"in the query", "X: y", 401, ""},
		{"unknown scope", "Authorization: Bearer " + make(secret, "x", []auth.Scope{"moon"}, 0), 403, `{"error":`},
		{"empty scope", "Authorization: Bearer " + make(secret, "x", []auth.Scope{}, 0), 403, `{"error":`},
		{"jobs is not read", "Authorization: Bearer " + make(secret, "x", []auth.Scope{auth.ScopeJobs}, 0), 403, `{"error":`},
		{"admin", "Authorization: Bearer " + make(secret, "x", []auth.Scope{auth.ScopeAdmin}, 0), 200, ""},
	} {
		path := "/pipelines/jobs"
		if c.name == "in the query" {
			path += "?jwt=" + good
		}
		if c.name == "expired" {
			rig.Eventually(t, "the token is expired", func() bool {
				res, _ := w.do("GET", path, "", c.header)
				return res.StatusCode == 401
			})
		}
		if res, text := w.do("GET", path, "", c.header); res.StatusCode != c.code || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: %d %s; want %d %s", c.name, res.StatusCode, text, c.code, c.want)
		}
	}
	// A page from elsewhere can't use the cookie; a token needs no such guard.
	for _, c := range []struct {
		header string
		code   int
	}{{"Cookie: jwt=" + good, 403}, {"Authorization: Bearer " + good, 400}} {
		if res, text := w.do("POST", "/pipelines/schedule", `{"pipeline":"nope"}`, c.header, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"); res.StatusCode != c.code {
			t.Errorf("cross-origin with %.10s: %d %s, want %d", c.header, res.StatusCode, text, c.code)
		}
	}
	if _, err := gateway.New(rig.Within(t, time.Minute), w.fleet.Conn(), gateway.Config{Secret: "short"}); err == nil {
		t.Error("a secret of five bytes was taken")
	}
}

func TestJobsAreTagged(t *testing.T) {
	w := open(t)
	w.ended(w.schedule(`{"pipeline":"fails"}`))
	res, text := w.do("GET", "/pipelines/jobs", "", bearer(t))
	tag := res.Header.Get("ETag")
	if tag == "" || res.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("headers: %v", res.Header)
	}
	if res, text := w.do("GET", "/pipelines/jobs", "", bearer(t), "If-None-Match: "+tag); res.StatusCode != 304 || text != "" {
		t.Errorf("with the tag: %d %q", res.StatusCode, text)
	}
	zipped, body := w.do("GET", "/pipelines/jobs", "", bearer(t), "Accept-Encoding: gzip")
	if zipped.Header.Get("ETag") == tag || zipped.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("compressed: %v", zipped.Header)
	}
	z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if plain, _ := io.ReadAll(z); string(plain) != text {
		t.Error("compressed and plain differ")
	}
	other := &world{t: t, fleet: w.fleet}
	other.url = other.gateway()
	rig.Eventually(t, "another gateway has the same tag", func() bool {
		res, _ := other.do("GET", "/pipelines/jobs", "", bearer(t))
		return res.Header.Get("ETag") == tag
	})
	w.schedule(`{"pipeline":"fails"}`)
	if res, _ := w.do("GET", "/pipelines/jobs", "", bearer(t), "If-None-Match: "+tag); res.StatusCode != 200 {
		t.Errorf("after a change: %d", res.StatusCode)
	}
}

func TestCode(t *testing.T) {
	w := open(t)
	rig.EventuallyIn(t, 3*time.Minute, "languages are known", func() bool {
		_, text := w.do("GET", "/api/v1/languages", "", bearer(t))
		return strings.Contains(text, "bash")
	})
	var reply struct {
		Stdout, Stderr string
		Error          *string
	}
	canvas := func(body string) (int, string) {
		res, text := w.do("POST", "/api/v1/run", body, bearer(t))
		reply.Error, reply.Stdout, reply.Stderr = nil, "", ""
		_ = json.Unmarshal([]byte(text), &reply)
		return res.StatusCode, text
	}
	if code, text := canvas(`{"source":"echo hi; echo err >&2; exit 3","language":"bash"}`); code != 200 || text != `{"error":null,"stderr":"err\n","stdout":"hi\n"}` {
		t.Errorf("run: %d %s", code, text)
	}
	for body, want := range map[string]string{
		`{"source":"x"}`:                     `{"error":"\"language\" and \"source\" fields are required"}`,
		`{"source":"x","language":"cobol"}`:  `{"error":"invalid language: [cobol] not currently supported"}`,
		`{`:                                  `{"error":"failed to parse request body"}`,
		`{"source":"x","language":"bash"} x`: `{"error":"failed to parse request body"}`,
		``:                                   `{"error":"\"language\" and \"source\" fields are required"}`,
	} {
		if code, text := canvas(body); code != 400 || text != want {
			t.Errorf("%s: %d %s, want %s", body, code, text, want)
		}
	}
	if code, _ := canvas(`{"source":"echo no","language":"bash"} {"source":"echo last","language":"bash"}`); code != 200 || reply.Stdout != "last\n" {
		t.Errorf("two objects: %d %+v", code, reply)
	}

	execute := func(body string) (int, map[string]any) {
		res, text := w.do("POST", "/api/v2/piston/execute", body, bearer(t), "Content-Type: application/json")
		var reply map[string]any
		if err := json.Unmarshal([]byte(text), &reply); err != nil {
			t.Fatalf("%s: %s", body, text)
		}
		return res.StatusCode, reply
	}
	code, got := execute(`{"language":"sh","version":"*","files":[{"content":"cat; echo $1; exit 3"}],"stdin":"in\n","args":["x"]}`)
	run, _ := got["run"].(map[string]any)
	if code != 200 || got["language"] != "bash" || run["stdout"] != "in\nx\n" || run["code"] != 3.0 || run["signal"] != nil || run["output"] != "in\nx\n" {
		t.Errorf("execute: %d %v", code, got)
	}
	for body, want := range map[string]string{
		`{"version":"*","files":[]}`:                                                    "language is required as a string",
		`{"language":"bash","files":[]}`:                                                "version is required as a string",
		`{"language":"bash","version":"*"}`:                                             "files is required as an array",
		`{"language":"bash","version":"*","files":[{}]}`:                                "files[0].content is required as a string",
		`{"language":"bash","version":"99.x","files":[{"content":"x"}]}`:                "bash-99.x runtime is unknown",
		`{"language":"bash","version":"*","files":[{"content":"x"}],"stdin":1}`:         "if specified, stdin is required to be a string",
		`{"language":"bash","version":"*","files":[{"content":"x"}],"run_timeout":"1"}`: "if specified, run_timeout is required to be a number",
	} {
		if code, got := execute(body); code != 400 || got["message"] != want {
			t.Errorf("%s: %d %v, want %q", body, code, got, want)
		}
	}
	if res, text := w.do("POST", "/api/v2/execute", `{}`, bearer(t), "Content-Type: text/plain"); res.StatusCode != 415 || !strings.Contains(text, `"message"`) {
		t.Errorf("text/plain: %d %s", res.StatusCode, text)
	}
	if res, _ := w.do("DELETE", "/api/v2/packages", "", bearer(t)); res.StatusCode != 403 {
		t.Errorf("DELETE packages: %d", res.StatusCode)
	}
	if res, text := w.do("GET", "/api/v2/runtimes", ""); res.StatusCode != 401 || text != `{"message":"no token found"}` {
		t.Errorf("without a token: %d %s", res.StatusCode, text)
	}
}
