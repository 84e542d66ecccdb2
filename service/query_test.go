package service_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

func ids(runs []map[string]any) string {
	var s []string
	for _, r := range runs {
		s = append(s, r["id"].(string))
	}
	return strings.Join(s, " ")
}

// same fails unless both clients heard the same runs.
func same(t *testing.T, what string, got [2]heard, want string) {
	t.Helper()
	for i, h := range got {
		if h.err != nil || h.code != 0 || ids(h.runs) != want {
			t.Errorf("%s: client %d got %v, want runs %q", what, i, h, want)
		}
	}
}

func TestQueryFindsRuns(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "a", Settings: service.Settings{Slots: 2}})
	f.start(service.Config{Name: "b"}) // any runner answers for all
	c := f.two()
	for i, task := range []string{
		commands("exit 3", `"tags":{"app":"web","env":"prod"}`),
		commands("true", `"tags":{"app":"web"}`),
		commands("sleep 1000", `"tags":{"app":"db"}`),
		commands("sleep 1000", `"tags":{"app":"db"}`),
		commands("true", `"tags":{"app":"waits"}`),
	} {
		id := fmt.Sprint("q", i)
		c[i%2].start("at.a", id, task)
		if i < 2 {
			c[0].final(id)
		}
	}
	for query, want := range map[string]string{
		`{"all":true}`:                                               "q4 q3 q2 q1 q0",
		`{"runs":["q1","q3"]}`:                                       "q3 q1",
		`{"runs":["q1","q3","q1"]}`:                                  "q3 q1",
		`{"all":true,"states":["RUNNING"]}`:                          "q3 q2",
		`{"all":true,"states":["PENDING"]}`:                          "q4",
		`{"all":true,"states":["COMPLETE"]}`:                         "q1 q0",
		`{"all":true,"states":["COMPLETE","PENDING"]}`:               "q4 q1 q0",
		`{"all":true,"states":["ABORTED"]}`:                          "",
		`{"all":true,"tags":{"app":"web"}}`:                          "q1 q0",
		`{"all":true,"tags":{"app":"web","env":"prod"}}`:             "q0",
		`{"all":true,"tags":{"app":"waits"}}`:                        "q4", // PENDING has its tags
		`{"all":true,"tags":{"app":"no"}}`:                           "",
		`{"runs":["q0","q2"],"states":["COMPLETE"]}`:                 "q0",
		`{"runs":["q0","q2"],"tags":{"app":"db"}}`:                   "q2",
		`{"runs":["q2"],"states":["COMPLETE"]}`:                      "",
		`{"all":true,"states":["RUNNING"],"tags":{"app":"web"}}`:     "",
		`{"runs":["q2","q3"],"states":["RUNNING"],"wait":"30s"}`:     "q3 q2", // all of them, at once
		`{"runs":["q0"],"states":["ABORTED","FAILED"],"wait":"30s"}`: "q0",    // can't get there any more
	} {
		began := time.Now()
		same(t, query, together(c, func(c caller) heard { return c.query(query) }), want)
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("%s took %s", query, took)
		}
	}

	var paged []string
	next := ""
	for range 3 {
		got := together(c, func(c caller) heard { return c.query(`{"all":true,"limit":2,"next":"` + next + `"}`) })
		same(t, "page", got, ids(got[0].runs))
		paged = append(paged, ids(got[0].runs))
		next = got[0].next
	}
	if want := []string{"q4 q3", "q2 q1", "q0"}; !slices.Equal(paged, want) || next != "" {
		t.Errorf("got pages %q and next %q, want %q", paged, next, want)
	}
	for _, got := range together(c, func(c caller) heard { return c.query(`{"runs":["q0","nope"]}`) }) {
		if got.code != 404 || got.text != "unknown run id nope" {
			t.Errorf("unknown run: got %v", got)
		}
	}

	// A record says everything from the start, and keeps it.
	waiting := c[0].query(`{"runs":["q4"]}`).runs[0]
	for field, want := range map[string]any{
		"state": "PENDING", "runner": "a", "logStream": "RUNNER_LOG", "logSubject": "runner.log.a.q4",
		"exitCode": 0.0, "attempt": 1.0, "logComplete": false, "reason": "",
	} {
		if waiting[field] != want {
			t.Errorf("a PENDING run's %s is %v, want %v", field, waiting[field], want)
		}
	}
	ended := c[1].query(`{"runs":["q0"]}`).runs[0]
	for field, want := range map[string]any{
		"state": "COMPLETE", "reason": "exit", "exitCode": 3.0, "logSubject": "runner.log.a.q0", "logComplete": true, "lines": 0.0,
	} {
		if ended[field] != want {
			t.Errorf("a final run's %s is %v, want %v", field, ended[field], want)
		}
	}
	if ended["tags"].(map[string]any)["env"] != "prod" || ended["created"] == nil || ended["started"] == nil || ended["ended"] == nil {
		t.Errorf("a final run has lost something: %v", ended)
	}
}

// A query that waits returns with the first match, blocks nobody, and ends with
// its time.
func TestQueryWaits(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	c[0].start("any", "slow", commands("sleep 1000", `"tags":{"k":"v"}`))

	began := time.Now()
	same(t, "nothing comes to match", together(c, func(c caller) heard {
		return c.query(`{"runs":["slow"],` + final + `,"wait":"300ms"}`)
	}), "")
	if took := time.Since(began); took < 300*time.Millisecond || took > 30*time.Second {
		t.Errorf("a wait of 300 ms took %s", took)
	}

	byID, byTag := make(chan [2]heard), make(chan [2]heard)
	waiting := func(query string, got chan [2]heard) {
		got <- together(f.two(), func(c caller) heard { return c.query(query) })
	}
	go waiting(`{"runs":["slow"],`+final+`,"wait":"30s"}`, byID)
	go waiting(`{"all":true,`+final+`,"tags":{"k":"v"},"wait":"30s"}`, byTag)
	for range 20 { // others are served meanwhile
		same(t, "while others wait", together(c, func(c caller) heard { return c.query(`{"all":true}`) }), "slow")
	}
	if got := c[0].abort("any", "slow", "10s"); got.run["state"] != "ABORTED" {
		t.Errorf("got %v", got)
	}
	same(t, "by id", <-byID, "slow")
	same(t, "by tag", <-byTag, "slow")
}

// 64 may wait at a time. The next is told so; what doesn't wait isn't.
func TestQueryTooManyWaits(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	c[0].start("any", "slow", commands("sleep 1000"))
	wait := func(nc *nats.Conn, inbox string) {
		body := `{"kind":"runner","spec":{"query":{"runs":["slow"],` + final + `,"wait":"30s"}}}`
		if err := nc.PublishRequest("runner.query.any", inbox, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	nobody := f.connect()
	for range 64 {
		wait(nobody, nobody.NewInbox()) // who does not even listen for the answer
	}
	rig.Eventually(t, "64 wait", func() bool {
		full := c[1].query(`{"runs":["slow"],`+final+`,"wait":"1ms"}`).code == 429
		if !full { // one of them may have been refused, because what asks here had its place
			wait(nobody, nobody.NewInbox())
		}
		return full
	})
	for _, got := range together(c, func(c caller) heard { return c.query(`{"runs":["slow"],` + final + `,"wait":"5s"}`) }) {
		if got.code != 429 {
			t.Errorf("the 65th that waits: got %v", got)
		}
	}
	same(t, "no wait", together(c, func(c caller) heard { return c.query(`{"runs":["slow"]}`) }), "slow")
	nobody.Close() // clients that die hurt nobody
	if got := c[0].abort("any", "slow", "10s"); got.run["state"] != "ABORTED" {
		t.Errorf("got %v", got)
	}
	rig.Eventually(t, "places to wait are free again", func() bool {
		return c[1].query(`{"runs":["slow"],"states":["RUNNING"],"wait":"1ms"}`).code != 429
	})
}

// Four lists at a time: others are told to come back, and nothing else happens to anybody.
func TestQueryTooManyScans(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	for i := range 60 {
		c[i%2].start("any", fmt.Sprint("r", i), `{"argv":["true"]}`)
	}
	busy := 0
	rig.Eventually(t, "more lists than are served at once", func() bool {
		answers := make(chan heard, 64)
		for i := range cap(answers) {
			go func() { answers <- c[i%2].query(`{"all":true,"limit":1000}`) }()
		}
		for range cap(answers) {
			switch h := <-answers; {
			case h.code == 429:
				busy++
			case h.err != nil || h.code != 0 || len(h.runs) != 60:
				t.Fatalf("got %d runs: %v %d %s", len(h.runs), h.err, h.code, h.text)
			}
		}
		return busy > 0
	})
}
