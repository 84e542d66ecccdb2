package gateway_test

import (
	"github.com/runnel-io/runnel/service/gateway/auth"

	"encoding/json"
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
