package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// run starts a task on r1 and gives its id.
func (w *world) run(body string) string {
	w.t.Helper()
	var got startedJSON
	if code := w.send("POST", "/api/v1/runs", body, &got, auth.ScopeRun); code != 200 && code != 202 {
		w.t.Fatalf("%s: %d %+v", body, code, got)
	}
	return got.ID
}

// until reads events until one is as wanted, and gives it.
func (e *events) until(t *testing.T, what string, wanted func(event) bool) event {
	t.Helper()
	for {
		got, ok := e.next()
		if !ok {
			t.Fatalf("the stream ended before %s", what)
		}
		if wanted(got) {
			return got
		}
	}
}

func isCurrent(topic string) func(event) bool {
	return func(e event) bool { return e.kind == "current" && e.data == `{"topic":"`+topic+`"}` }
}

func TestEventsOfAll(t *testing.T) {
	w := open(t)
	other := w.gateway()
	old := w.run(`{"command":"true","wait":"20s"}`)
	stream := w.events(w.url, "/api/v1/events?topics=fleet,runs,jobs", "")
	seen := map[string]bool{}
	for n := 0; n < 3; {
		e, ok := stream.next()
		if !ok {
			t.Fatal("it ended")
		}
		switch {
		case e.kind == "current":
			n++
		case e.kind == "runner" && strings.Contains(e.data, `"name":"r1","online":true`):
			seen["fleet"] = true
		case e.kind == "run" && strings.Contains(e.data, old):
			seen["run"] = true
		}
	}
	if !seen["fleet"] || !seen["run"] {
		t.Errorf("at the beginning: %v", seen)
	}
	id := w.run(`{"command":"exit 7"}`)
	last := stream.until(t, "the run's end", func(e event) bool {
		return e.kind == "run" && strings.Contains(e.data, id) && strings.Contains(e.data, `"exitCode":7`)
	})
	_ = stream.res.Body.Close()
	// Elsewhere it goes on behind that: what happened meanwhile comes, and no more.
	job := w.schedule(`{"pipeline":"fails"}`)
	w.ended(job)
	w.fleet.Runner(service.Config{Name: "r2"})
	again := w.events(other, "/api/v1/events?topics=fleet,runs,jobs", last.id)
	missed := map[string]bool{}
	for !missed["job"] || !missed["r2"] {
		e, ok := again.next()
		switch {
		case !ok:
			t.Fatal("it ended")
		case e.kind == "reset", e.kind == "current", strings.Contains(e.data, id), strings.Contains(e.data, old):
			t.Fatalf("after %s: %+v", last.id, e)
		case e.kind == "job" && strings.Contains(e.data, job) && strings.Contains(e.data, `"completed":true`):
			missed["job"] = true
		case e.kind == "runner" && strings.Contains(e.data, `"name":"r2"`):
			missed["r2"] = true
		}
	}
	// An id that is from nowhere has everything come again.
	reset := w.events(other, "/api/v1/events?topics=runs", "runs=99999999")
	if e, _ := reset.next(); e.kind != "reset" {
		t.Errorf("an id from nowhere: %+v", e)
	}
	reset.until(t, "everything", isCurrent("runs"))
	if e, _ := w.events(other, "/api/v1/events?topics=runs", "nonsense").next(); e.kind != "reset" {
		t.Errorf("an id that is none: %+v", e)
	}
}

func TestEventsOfOneJob(t *testing.T) {
	w := open(t)
	job := w.schedule(`{"pipeline":"slow"}`)
	stream := w.events(w.url, "/api/v1/events?topics=job:"+job, "")
	stream.until(t, "the job", isCurrent("job:"+job))
	w.ended(w.schedule(`{"pipeline":"release","variables":{"tag":"x"}}`)) // another one's changes don't come
	w.send("POST", "/api/v1/jobs/"+job+"/cancel", "", nil)
	stream.until(t, "its end", func(e event) bool {
		if e.kind != "job" || !strings.Contains(e.data, job) {
			t.Fatalf("%+v", e)
		}
		return strings.Contains(e.data, `"completed":true`)
	})
}

func TestEventsOfNothing(t *testing.T) {
	w := open(t)
	for topics, want := range map[string]string{
		"": "unknown topic", "moon": "unknown topic", "fleet:x": "takes no id", "job:": "", "log:a@0": "number of a line",
		"log:a@x": "number of a line", "fleet,fleet": "twice", "log:..": "",
	} {
		if res, text := w.do("GET", "/api/v1/events?topics="+topics, "", bearer(t)); res.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%q: %d %s", topics, res.StatusCode, text)
		}
	}
	if res, _ := w.do("GET", "/api/v1/events?topics=fleet", "", bearer(t, auth.ScopeRun)); res.StatusCode != 403 {
		t.Errorf("without read: %d", res.StatusCode)
	}
	got := w.events(w.url, "/api/v1/events?topics=log:nosuch", "").all()
	if len(got) != 1 || got[0].kind != "end" || !strings.Contains(got[0].data, "unknown run id") {
		t.Fatalf("an unknown log: %+v", got)
	}
	if res := w.events(w.url, "/api/v1/events?topics=log:nosuch", got[0].id).res; res.StatusCode != 204 {
		t.Errorf("after its end: %d", res.StatusCode)
	}
	if got := w.events(w.url, "/api/v1/events?topics=job:6c426fd3-d7c0-4347-a2e4-6e5c75d7d0b6", ""); got.res.StatusCode != 200 {
		t.Errorf("%d", got.res.StatusCode)
	} else if e, _ := got.next(); !strings.Contains(e.data, `"gone":true`) {
		t.Errorf("an unknown job: %+v", e)
	}
}

// A stream lasts as long as the token that it was asked for with.
func TestEventsEndWithTheToken(t *testing.T) {
	w := open(t)
	for life := 2 * time.Second; ; life *= 2 { // a busy machine may be late with its first request
		text, err := auth.Token(secret, "me", []auth.Scope{auth.ScopeRead}, life)
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(rig.Within(t, 2*time.Minute), "GET", w.url+"/api/v1/events?topics=fleet", nil)
		req.Header.Set("Authorization", "Bearer "+text)
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode == http.StatusUnauthorized && life < time.Minute {
			continue
		}
		if _, err := io.Copy(io.Discard, res.Body); res.StatusCode != 200 || err != nil {
			t.Fatalf("%s: %v", res.Status, err)
		}
		if res, text := w.do("GET", "/api/v1/events?topics=fleet", "", "Authorization: Bearer "+text); res.StatusCode != 401 || !strings.Contains(text, "token is expired") {
			t.Errorf("after its end: %s %s", res.Status, text)
		}
		return
	}
}

// positions are those of a log event's records.
func positions(t *testing.T, e event) (run string, pos []int) {
	t.Helper()
	var data struct {
		Run     string
		At      [][3]int // message, record, how many
		Records []struct{ Pos int }
		Record  struct{ Pos int }
	}
	if err := json.Unmarshal([]byte(e.data), &data); err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	for _, r := range data.Records {
		pos = append(pos, r.Pos)
	}
	if e.kind == "log" {
		n, last := 0, ""
		for _, at := range data.At {
			n += at[2]
			last = fmt.Sprintf("log:%s=%d.%d", data.Run, at[0], at[1]+at[2]-1)
		}
		if n != len(pos) || !strings.Contains(e.id+",", last+",") {
			t.Fatalf("%d records at %v, after which the id is %s", len(pos), data.At, e.id)
		}
	}
	return data.Run, pos
}

// Two logs in one stream, cut at random and resumed elsewhere: each line once.
func TestEventsOfLogsResume(t *testing.T) {
	w := open(t)
	gateways := []string{w.url, w.gateway()}
	flood := w.run(`{"command":"for i in $(seq 200); do seq 20; sleep 0.01; done","name":"flood"}`)
	short := w.run(`{"command":"seq 50"}`)
	path := "/api/v1/events?topics=log:" + flood + ",log:" + short
	next := map[string]int{flood: 1, short: 1}
	last := ""
	ends := 0
	for cut := 0; ; cut++ {
		stream := w.events(gateways[cut%2], path, last)
		if stream.res.StatusCode == 204 {
			break
		}
		for range 1 + rand.IntN(6) {
			e, ok := stream.next()
			if !ok {
				break
			}
			run, pos := positions(t, e)
			for _, p := range pos {
				if p != next[run] {
					t.Fatalf("cut %d, after %s: %s has line %d, want %d", cut, last, run, p, next[run])
				}
				next[run]++
			}
			if e.kind == "end" {
				ends++
			}
			last = e.id
		}
		_ = stream.res.Body.Close()
	}
	if next[flood] != 4001 || next[short] != 51 || ends != 2 {
		t.Errorf("%v, %d ends", next, ends)
	}
	for from, want := range map[string]int{"@4000": 1, "@-3": 3, "@1": 4000, "@9999": 0} {
		n := 0
		for _, e := range w.events(w.url, "/api/v1/events?topics=log:"+flood+from, "").all() {
			_, pos := positions(t, e)
			n += len(pos)
		}
		if n != want {
			t.Errorf("%s: %d lines, want %d", from, n, want)
		}
	}
}

// A line link of a log that goes on begins there, and what comes follows.
func TestEventsOfLogFromLine(t *testing.T) {
	w := open(t)
	gate := filepath.Join(t.TempDir(), "go")
	id := w.run(fmt.Sprintf(`{"command":"seq 10; until [ -e %s ]; do sleep 0.05; done; seq 11 12"}`, gate))
	rig.Eventually(t, "ten lines", func() bool {
		_, text := w.do("GET", "/api/v1/runs/"+id+"/log", "", bearer(t))
		return strings.Count(text, "\n") == 10
	})
	streams := map[string]*events{}
	for _, from := range []string{"@9", "@-2", "@12"} {
		streams[from] = w.events(w.url, "/api/v1/events?topics=log:"+id+from, "")
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{"@9": "[9 10 11 12]", "@-2": "[9 10 11 12]", "@12": "[12]"} {
		var all []int
		for _, e := range streams[from].all() {
			_, pos := positions(t, e)
			all = append(all, pos...)
		}
		if from == "@-2" && len(all) == 2 {
			continue // it began when all was there
		}
		if fmt.Sprint(all) != want {
			t.Errorf("%s: %v, want %s", from, all, want)
		}
	}
}
