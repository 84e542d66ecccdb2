package gateway_test

import (
	"github.com/runnel-io/runnel/service/gateway/auth"

	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/tests/rig"
)

type event struct{ kind, id, data string }

// events opens a stream; next is false at its end. Comments are counted.
type events struct {
	res      *http.Response
	lines    *bufio.Scanner
	comments int
}

func (w *world) events(url, path, last string) *events {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*rig.Patience)
	w.t.Cleanup(cancel)
	req, _ := http.NewRequestWithContext(ctx, "GET", url+path, nil)
	req.Header.Set("Authorization", "Bearer "+token(w.t))
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = res.Body.Close() })
	return scanEvents(res)
}

func scanEvents(res *http.Response) *events {
	return &events{res: res, lines: bufio.NewScanner(res.Body)}
}

func (e *events) next() (got event, ok bool) {
	for e.lines.Scan() {
		name, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch name {
		case "event":
			got.kind = value
		case "id":
			got.id = value
		case "data":
			got.data = value
		case "":
			if value != "" {
				e.comments++
			} else if got != (event{}) {
				return got, true
			}
		}
	}
	return event{}, false
}

func (e *events) all() (all []event) {
	for {
		got, ok := e.next()
		if !ok {
			return all
		}
		all = append(all, got)
	}
}

// gated is a pipeline whose task prints, waits for the file and prints more.
func (w *world) gated() (id, gate string) {
	gate = filepath.Join(w.t.TempDir(), "go")
	w.apply(fmt.Sprintf("pipelines:\n  gated:\n    tasks:\n      a: {script: ['echo one; echo two >&2; until [ -e %s ]; do sleep 0.05; done; echo three']}\n", gate))
	return w.schedule(`{"pipeline":"gated"}`), gate
}

func TestLogEvents(t *testing.T) {
	w := open(t)
	other := w.gateway()
	id, gate := w.gated()
	path := "/job/logs/stream?id=" + id + "&task=a"
	live := w.events(w.url, path, "")
	if live.res.StatusCode != 200 || live.res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", live.res.StatusCode, live.res.Header)
	}
	for range 2 { // what is there is shown before the run ends
		if got, ok := live.next(); !ok || !strings.Contains(got.data, `"pos":`) || got.id == "" {
			t.Fatalf("%+v", got)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rest := live.all(); len(rest) != 2 || !strings.Contains(rest[0].data, `"three"`) || rest[1].kind != "end" || !strings.Contains(rest[1].data, `"EOF"`) {
		t.Fatalf("live: %+v", rest)
	}
	w.ended(id)
	for _, path := range []string{path, "/api/v1/runs/" + id + "-1/events"} {
		whole := w.events(w.url, path, "").all()
		if len(whole) != 4 || !strings.Contains(whole[1].data, `"stream":"stderr"`) || whole[3].kind != "end" {
			t.Fatalf("%s: %+v", path, whole)
		}
		for i, at := range whole[:3] {
			if got := w.events(other, path, at.id).all(); fmt.Sprint(got) != fmt.Sprint(whole[i+1:]) {
				t.Errorf("%s after %s: %+v", path, at.id, got)
			}
		}
		if res := w.events(other, path, whole[3].id).res; res.StatusCode != 204 {
			t.Errorf("%s after the end: %d", path, res.StatusCode)
		}
		if got := w.events(other, path, "nonsense").all(); len(got) != 5 || got[0].kind != "reset" {
			t.Errorf("%s after an id of nothing: %+v", path, got)
		}
	}
	for path, want := range map[string]int{"/api/v1/runs/nosuch/events": 404, "/job/logs/stream?id=" + id: 400, "/job/logs/stream?id=" + id + "&task=x": 404, "/job/logs/stream?id=x": 400} {
		if res := w.events(w.url, path, "").res; res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	if res, _ := w.do("GET", path, "", "Authorization: Bearer "+token(t, auth.ScopeJobs)); res.StatusCode != 403 {
		t.Errorf("without read: %d", res.StatusCode)
	}
}

// A reader that is cut at random and goes on elsewhere misses nothing and has
// nothing twice.
func TestLogEventsResume(t *testing.T) {
	w := open(t)
	gateways := []string{w.url, w.gateway()}
	w.apply("pipelines:\n  flood:\n    tasks:\n      a: {script: ['for i in $(seq 200); do seq $i $((i+19)); sleep 0.01; done']}\n")
	id := w.schedule(`{"pipeline":"flood"}`)
	path := "/job/logs/stream?id=" + id + "&task=a"
	var last string
	pos := 0
	for cut := 0; ; cut++ {
		stream := w.events(gateways[cut%2], path, last)
		if stream.res.StatusCode == 204 {
			break
		}
		for range 1 + rand.IntN(200) {
			got, ok := stream.next()
			if !ok {
				break
			}
			pos++
			if !strings.HasPrefix(got.data, fmt.Sprintf(`{"pos":%d,`, pos)) {
				t.Fatalf("cut %d, after %s: event %d is %+v", cut, last, pos, got)
			}
			last = got.id
		}
		_ = stream.res.Body.Close()
	}
	if pos != 4001 {
		t.Errorf("%d events, want 4,000 lines and the end", pos)
	}
}

func TestLogEventsOfNothing(t *testing.T) {
	w := open(t)
	id := w.schedule(`{"pipeline":"fails"}`)
	w.ended(id)
	path := "/job/logs/stream?id=" + id + "&task=b" // it was skipped
	got := w.events(w.url, path, "").all()
	if len(got) != 1 || got[0].kind != "end" {
		t.Fatalf("%+v", got)
	}
	if res := w.events(w.url, path, got[0].id).res; res.StatusCode != 204 {
		t.Errorf("after the end: %d", res.StatusCode)
	}
}

// A stream shows that it lives, and ends with its gateway.
func TestEventsEndWithGateway(t *testing.T) {
	w := open(t)
	id, gate := w.gated()
	g, stop := w.stoppable()
	stream := w.events(g, "/job/logs/stream?id="+id+"&task=a", "")
	for range 2 {
		stream.next()
	}
	began := time.Now()
	time.AfterFunc(16*time.Second, stop)
	if got := stream.all(); len(got) != 0 || stream.comments < 2 || time.Since(began) > 40*time.Second {
		t.Errorf("%+v, %d comments in %v", got, stream.comments, time.Since(began))
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.ended(id)
}

func (w *world) stoppable() (url string, stop func()) {
	w.t.Helper()
	g, url := w.start(gateway.Config{Secret: secret, Logger: rig.Logger(w.t)})
	return url, g.Stop
}

// Another attempt begins with a reset, and an id of one before gets one, too.
func TestLogEventsOfAttempts(t *testing.T) {
	w := open(t)
	gate := filepath.Join(t.TempDir(), "go")
	w.apply(fmt.Sprintf("pipelines:\n  again:\n    tasks:\n      a: {script: ['echo try; until [ -e %s ]; do sleep 0.05; done; exit 1'], retries: {max: 1, backoff: 1s}}\n", gate))
	id := w.schedule(`{"pipeline":"again"}`)
	path := "/job/logs/stream?id=" + id + "&task=a"
	stream := w.events(w.url, path, "")
	first, _ := stream.next()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	live := append([]event{first}, stream.all()...)
	w.ended(id)
	after := w.events(w.url, path, "").all()
	if len(after) != 2 || !strings.Contains(after[0].id, "-a2/") || after[1].kind != "end" {
		t.Fatalf("after the end: %+v", after)
	}
	if len(live) != 5 || live[2].kind != "reset" || fmt.Sprint(live[3:]) != fmt.Sprint(after) || live[1].kind != "" {
		t.Errorf("live: %+v", live)
	}
	if got := w.events(w.url, path, live[0].id).all(); len(got) != 3 || got[0].kind != "reset" {
		t.Errorf("after an id of the first attempt: %+v", got)
	}
	if got := w.events(w.url, path, after[0].id).all(); fmt.Sprint(got) != fmt.Sprint(after[1:]) {
		t.Errorf("after the first event: %+v", got)
	}
}

// The logs of several runners come one after another.
func TestLogEventsOfSeveral(t *testing.T) {
	w := open(t)
	w.fleet.Runner(service.Config{Name: "r2"})
	w.apply("pipelines:\n  all:\n    tasks:\n      a: {script: ['echo \"on $RUNNEL_RUNNER\"'], on: {all: true}}\n")
	id := w.schedule(`{"pipeline":"all"}`)
	path := "/job/logs/stream?id=" + id + "&task=a"
	w.ended(id)
	all := w.events(w.url, path, "").all()
	if len(all) != 4 || all[3].kind != "end" {
		t.Fatalf("%+v", all)
	}
	for i, at := range all[:3] {
		if got := w.events(w.url, path, at.id).all(); fmt.Sprint(got) != fmt.Sprint(all[i+1:]) {
			t.Errorf("after %s: %+v", at.id, got)
		}
	}
	if res := w.events(w.url, path, all[3].id).res; res.StatusCode != 204 {
		t.Errorf("after the end: %d", res.StatusCode)
	}
}
