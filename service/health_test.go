package service_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/rig"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealthAndMetrics(t *testing.T) {
	f := newFleet(t)
	s := f.start(service.Config{})
	web := httptest.NewServer(s.Handler())
	defer http.DefaultClient.CloseIdleConnections()
	defer web.Close()
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, web.URL+path); code != 200 || !strings.Contains(body, `"state":"ready"`) {
			t.Errorf("%s: got %d %s", path, code, body)
		}
	}
	f.log(f.ask("runner.task.any", `{"kind":"runner","spec":{"task":{"argv":["echo","hello"]}}}`).at("run", "logSubject").(string))
	f.ask("runner.task.any", `{}`)
	f.ask("runner.query.any", `{"kind":"runner","spec":{"query":{"all":true,"states":["COMPLETE"],"wait":"10s"}}}`)
	_, body := get(t, web.URL+"/metrics")
	for _, want := range []string{
		`runnel_runs_total{reason="exit",runner="web1",state="COMPLETE"} 1`,
		`runnel_log_lines_total{runner="web1"} 1`,
		`runnel_log_bytes_total{runner="web1"} 6`,
		`runnel_requests_total{code="200",runner="web1",verb="task"} 1`,
		`runnel_requests_total{code="400",runner="web1",verb="task"} 1`,
		`runnel_slots{runner="web1"} 64`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	s.Drain(t.Context())
	if code, body := get(t, web.URL+"/readyz"); code != 503 || !strings.Contains(body, "draining") {
		t.Errorf("draining: got %d %s", code, body)
	}
	if code, _ := get(t, web.URL+"/healthz"); code != 200 {
		t.Errorf("a draining runner is not unhealthy, got %d", code)
	}
}

func TestUnhealthyWithoutNATSAndBack(t *testing.T) {
	f := newFleet(t)
	s := f.start(service.Config{})
	web := httptest.NewServer(s.Handler())
	defer http.DefaultClient.CloseIdleConnections()
	defer web.Close()
	f.nc.Close()
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "unhealthy without NATS", func() bool {
		code, body := get(t, web.URL+"/healthz")
		return code == 503 && strings.Contains(body, "not connected to NATS")
	})
}

// A log stream that is gone is said, made again, and then nothing is missing.
func TestUnhealthyWithoutLogStreamAndBack(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newFleet(t)
	s := f.start(service.Config{CardInterval: time.Second})
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream("RUNNER_LOG"); err != nil {
		t.Fatal(err)
	}
	f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"r1"},"spec":{"task":{"commands":["echo hello; sleep 0.2; echo again"]}}}`).ok(t)
	rig.Eventually(f.t, "it is unhealthy", func() bool {
		h := s.Health()
		return h.State == service.StateUnhealthy && strings.HasPrefix(h.Error, "cannot store output of run r1: ")
	})
	if got := f.record("r1"); got["state"] != "COMPLETE" || got["lines"] != 2.0 || got["logComplete"] != true {
		t.Errorf("got %v", got)
	}
	rig.Eventually(f.t, "it is healthy", func() bool { return s.Health().State == service.StateReady })
}

func TestReload(t *testing.T) {
	f := newFleet(t)
	s := f.start(service.Config{Settings: service.Settings{Labels: map[string]string{"env": "test"}}})
	const glance = `{"kind":"runner","spec":{"glance":{}}}`
	if err := s.Reload(service.Settings{Labels: map[string]string{"env": "prod"}, Slots: 3, Policy: &policy.Policy{Verbs: []string{"glance", "query"}}}); err != nil {
		t.Fatal(err)
	}
	if got := f.ask("runner.glance.all", glance, "Runner-Where", `labels.env == "prod"`); got.at("runner") != "web1" {
		t.Errorf("the new label is not in force: %s", got.Data)
	}
	if got := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":{"argv":["true"]}}}`); got.at("code") != float64(403) {
		t.Errorf("the new policy is not in force: %s", got.Data)
	}
	for language, hint := range map[string]string{"pythn": "no language", "python": `write "python3"`} {
		if err := s.Reload(service.Settings{Policy: &policy.Policy{Languages: []string{language}}}); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("a policy that allows %s: %v", language, err)
		}
	}
	if err := s.Reload(service.Settings{Policy: &policy.Policy{Verbs: []string{"nonsense"}}}); err == nil {
		t.Error("a broken policy was taken")
	}
	if got := f.ask("runner.glance.any", glance); got.at("runner") != "web1" {
		t.Errorf("after a broken reload: %s", got.Data)
	}
}

func TestTraceContextGoesThrough(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":{"commands":["echo $TRACEPARENT"]}}}`, "TraceParent", trace)
	if reply.at("run", "traceparent") != trace || reply.Header.Get("traceparent") != trace {
		t.Errorf("got %s, header %v", reply.Data, reply.Header)
	}
	if records := f.log(reply.at("run", "logSubject").(string)); records[0]["message"] != trace {
		t.Errorf("the task has %v", records[0])
	}
}
