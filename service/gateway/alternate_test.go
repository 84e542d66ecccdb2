package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// turns sends each request to another gateway than the one before.
type turns struct {
	hosts  []string
	next   atomic.Int64
	header string
}

func (a *turns) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = a.hosts[int(a.next.Add(1))%len(a.hosts)]
	if a.header != "" {
		r.Header.Set("Authorization", a.header)
	}
	return transport.RoundTrip(r)
}

// pair is two gateways of one fleet, and a client who meets them in turn.
type pair struct {
	*world
	first *gateway.Gateway
	turns turns
}

func openPair(t *testing.T) *pair {
	w := open(t)
	p := &pair{world: w}
	g, first := w.made()
	_, second := w.made()
	p.first = g
	for _, one := range []*world{first, second} {
		at, err := url.Parse(one.url)
		if err != nil {
			t.Fatal(err)
		}
		p.turns.hosts = append(p.turns.hosts, at.Host)
	}
	p.turns.header = bearer(t, auth.ScopeRead, auth.ScopeRun)[len("Authorization: "):]
	return p
}

// ask sends a request to whose turn it is.
func (p *pair) ask(method, path, body string, headers ...string) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(rig.Within(p.t, time.Minute), method, "http://any"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := p.turns.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, string(text)
}

// is asks and reads the JSON of an answer that must have a status.
func (p *pair) is(code int, into any, method, path, body string) {
	p.t.Helper()
	res, text := p.ask(method, path, body)
	if res.StatusCode != code {
		p.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		p.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
}

// A client who meets another gateway at each request sees one fleet.
func TestAnotherGatewayEachTime(t *testing.T) {
	p := openPair(t)
	t.Run("sign in", p.signIn)
	t.Run("jobs", p.jobs)
	t.Run("pages", p.pages)
	t.Run("runs", p.runs)
	t.Run("events", p.eventsGoOn)
	t.Run("agent", p.agent)
	t.Run("code", p.code)
}

func (p *pair) signIn(t *testing.T) {
	p.t = t
	header := p.turns.header
	p.turns.header = ""
	defer func() { p.turns.header = header }()
	path := link(t, p.first, auth.ScopeRead)
	res, text := p.ask("GET", path, "")
	if res.StatusCode != 303 || len(res.Cookies()) == 0 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	cookie := "Cookie: " + res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
	for range 2 {
		if res, text := p.ask("GET", path, ""); res.StatusCode != 401 {
			t.Errorf("the link again: %d %s", res.StatusCode, text)
		}
		if res, text := p.ask("GET", "/api/v1/me", "", cookie); res.StatusCode != 200 || !strings.Contains(text, `"alice"`) {
			t.Errorf("with the cookie: %d %s", res.StatusCode, text)
		}
	}
}

func (p *pair) jobs(t *testing.T) {
	p.t = t
	var job struct {
		JobID     string
		ID        string
		Completed bool
		Canceled  bool
	}
	for range 3 {
		p.is(202, &job, "POST", "/pipelines/schedule", `{"pipeline":"slow"}`)
		id := job.JobID
		p.is(200, &job, "GET", "/job/detail?id="+id, "")
		if job.ID != id || job.Completed {
			t.Errorf("right after: %+v", job)
		}
		if res, text := p.ask("POST", "/job/cancel?id="+id, ""); res.StatusCode != 200 || text != "true" {
			t.Errorf("cancel: %d %s", res.StatusCode, text)
		}
		rig.Eventually(t, "the job is cancelled", func() bool {
			p.is(200, &job, "GET", "/job/detail?id="+id, "")
			return job.Completed && job.Canceled
		})
	}
	rig.Eventually(t, "both have the same tag", func() bool {
		res, _ := p.ask("GET", "/pipelines/jobs", "")
		again, text := p.ask("GET", "/pipelines/jobs", "", "If-None-Match: "+res.Header.Get("ETag"))
		return again.StatusCode == 304 && text == ""
	})
	p.is(202, &job, "POST", "/pipelines/schedule", `{"pipeline":"release"}`)
	id := job.JobID
	rig.Eventually(t, "the job ends", func() bool {
		p.is(200, &job, "GET", "/job/detail?id="+id, "")
		return job.Completed
	})
	for _, path := range []string{"/job/logs?id=" + id + "&task=test", "/job/logs?id=" + id + "&task=test&stream=stdout"} {
		rig.Eventually(t, path+" has one tag", func() bool { // the last writes of a job that has just ended
			res, _ := p.ask("GET", path, "")
			again, _ := p.ask("GET", path, "", "If-None-Match: "+res.Header.Get("ETag"))
			return again.StatusCode == 304
		})
	}
}

// pages goes through the jobs, each page at another gateway.
func (p *pair) pages(t *testing.T) {
	p.t = t
	seen := map[string]bool{}
	next := ""
	for {
		var page struct {
			Jobs []struct{ ID string }
			Next string
		}
		p.is(200, &page, "GET", "/pipelines/jobs?limit=1&next="+url.QueryEscape(next), "")
		for _, j := range page.Jobs {
			if seen[j.ID] {
				t.Errorf("%s is there twice", j.ID)
			}
			seen[j.ID] = true
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d jobs, want 4", len(seen))
	}
}

func (p *pair) runs(t *testing.T) {
	p.t = t
	var run runJSON
	for range 2 { // each gateway is asked for each thing
		p.is(202, &run, "POST", "/api/v1/runs", `{"command":"echo begun; sleep 1000"}`)
		id := run.ID
		p.is(200, &run, "GET", "/api/v1/runs/"+id, "")
		if run.State != "RUNNING" && run.State != "PENDING" {
			t.Errorf("right after: %+v", run)
		}
		rig.Eventually(t, "its output is there", func() bool {
			_, text := p.ask("GET", "/api/v1/runs/"+id+"/log", "")
			return text == "begun\n"
		})
		p.is(200, &run, "POST", "/api/v1/runs/"+id+"/abort?wait=30s", "")
		p.is(200, &run, "GET", "/api/v1/runs/"+id, "")
		if run.State != "ABORTED" {
			t.Errorf("after the abort: %+v", run)
		}
	}
}

// eventsGoOn reads one event of a log at each gateway.
func (p *pair) eventsGoOn(t *testing.T) {
	p.t = t
	gate := filepath.Join(t.TempDir(), "go")
	id := p.run(fmt.Sprintf(`{"command":"seq 4; until [ -e %s ]; do sleep 0.05; done; seq 5 8"}`, gate))
	for _, path := range []string{"/api/v1/runs/" + id + "/events", "/api/v1/events?topics=fleet,runs,jobs,log:" + id} {
		last, lines := "", ""
		for range 50 {
			got, code := p.oneEvent(path, last)
			if code == 204 || code == 200 && got.kind == "end" {
				break
			}
			last = got.id
			for _, part := range strings.Split(got.data, `"message":"`)[1:] {
				line, _, _ := strings.Cut(part, `"`)
				lines += line + " "
			}
			if strings.HasPrefix(lines, "1 2 3 4") {
				if err := os.WriteFile(gate, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if lines != "1 2 3 4 5 6 7 8 " {
			t.Errorf("%s: %s", path, lines)
		}
	}
}

// oneEvent reads the first event of a log from a place on, and leaves.
func (p *pair) oneEvent(path, last string) (event, int) {
	p.t.Helper()
	req, _ := http.NewRequestWithContext(rig.Within(p.t, time.Minute), "GET", "http://any"+path, nil)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := p.turns.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	for all := scanEvents(res); ; {
		got, ok := all.next()
		if !ok || got.id != "" && (got.kind == "" || got.kind == "log" || got.kind == "end") {
			return got, res.StatusCode
		}
		if got.kind == "reset" {
			p.t.Errorf("%s after %s: %+v", path, last, got)
		}
	}
}

// agent has a session whose messages go to one and the other.
func (p *pair) agent(t *testing.T) {
	p.t = t
	s, err := sdk.NewClient(&sdk.Implementation{Name: "test"}, nil).Connect(rig.Within(t, time.Minute),
		&sdk.StreamableClientTransport{Endpoint: "http://any/mcp", HTTPClient: &http.Client{Transport: &p.turns}, DisableStandaloneSSE: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	call := func(name string, args map[string]any) string {
		t.Helper()
		res, err := s.CallTool(rig.Within(t, time.Minute), &sdk.CallToolParams{Name: name, Arguments: args})
		if err != nil || res.IsError {
			t.Fatalf("%s: %v %+v", name, err, res)
		}
		return res.Content[0].(*sdk.TextContent).Text
	}
	var runs struct {
		Runs   []struct{ Run, Output string }
		Ended  bool
		Cursor string
	}
	for range 2 {
		gate := filepath.Join(t.TempDir(), "go")
		if err := json.Unmarshal([]byte(call("run", map[string]any{"command": "echo one; until [ -e " + gate + " ]; do sleep 0.05; done; echo two", "wait_seconds": 1})), &runs); err != nil {
			t.Fatal(err)
		}
		begun, id := runs.Runs[0].Output, runs.Runs[0].Run
		if runs.Ended || runs.Cursor == "" {
			t.Fatalf("%+v", runs)
		}
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for !runs.Ended {
			if err := json.Unmarshal([]byte(call("follow", map[string]any{"cursor": runs.Cursor, "wait_seconds": 30})), &runs); err != nil {
				t.Fatal(err)
			}
			begun += runs.Runs[0].Output
		}
		if begun != "one\ntwo\n" {
			t.Errorf("%q", begun)
		}
		if text := call("get_log", map[string]any{"run": id}); !strings.Contains(text, `two`) {
			t.Errorf("%s", text)
		}
	}
}

func (p *pair) code(t *testing.T) {
	p.t = t
	rig.EventuallyIn(t, 3*time.Minute, "languages are known", func() bool {
		_, text := p.ask("GET", "/api/v1/languages", "")
		return strings.Contains(text, "bash")
	})
	for i := range 4 {
		if res, text := p.ask("POST", "/api/v1/run", fmt.Sprintf(`{"source":"echo %d","language":"bash"}`, i)); res.StatusCode != 200 || !strings.Contains(text, fmt.Sprintf(`"stdout":"%d\n"`, i)) {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		res, text := p.ask("POST", "/api/v2/execute", fmt.Sprintf(`{"language":"bash","version":"*","files":[{"content":"echo %d"}]}`, i), "Content-Type: application/json")
		if res.StatusCode != 200 || !strings.Contains(text, fmt.Sprintf(`"output":"%d\n"`, i)) {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	}
}
