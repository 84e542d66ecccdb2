package gateway_test

import (
	"encoding/json"
	"testing"

	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// queueEvent is the data of an event of the queue.
type queueEvent struct {
	queueJSON
	Revision string
}

func queueOf(t *testing.T, e event) (q queueEvent) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.data), &q); err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	return q
}

// waits says whether an event is of a queue in which so much waits, all in all.
func waits(t *testing.T, n int) func(event) bool {
	return func(e event) bool {
		if e.kind != "queue" {
			return false
		}
		got := 0
		for _, l := range queueOf(t, e).Lines {
			got += l.Waiting
		}
		return got == n
	}
}

// What changes the queue is told, to who goes on at another gateway as well: what
// is put in, removed, paused, started and has ended.
func TestEventsOfTheQueue(t *testing.T) {
	w := open(t)
	other := w.gateway()
	stream := w.events(w.url, "/api/v1/events?topics=queue", "")
	if e, _ := stream.next(); e.kind != "queue" || queueOf(t, e).Lines == nil || queueOf(t, e).Conflicts == nil || queueOf(t, e).Revision == "" {
		t.Errorf("nobody has used it: %+v", e)
	}
	stream.until(t, "what is there", isCurrent("queue"))
	w.send("POST", "/api/v1/queue/pools/default/pause", "", nil, auth.ScopeRun)
	stream.until(t, "the pause", func(e event) bool { return len(queueOf(t, e).Lines) == 1 && queueOf(t, e).Lines[0].Paused })
	for _, id := range []string{"one", "two"} {
		if code := w.send("POST", "/api/v1/queue/work", `{"id":"`+id+`","command":"true"}`, nil, auth.ScopeRun); code != 202 {
			t.Fatalf("put %s: %d", id, code)
		}
	}
	last := stream.until(t, "both", waits(t, 2))
	_ = stream.res.Body.Close()
	if last.id == "" {
		t.Fatalf("without an id: %+v", last)
	}
	w.send("DELETE", "/api/v1/queue/work/two", "", nil, auth.ScopeRun)
	again := w.events(other, "/api/v1/events?topics=queue,fleet", last.id)
	one := again.until(t, "the removal", waits(t, 1))
	if l := queueOf(t, one).Lines[0]; l.OldestSeconds < 0 || l.Oldest.IsZero() || l.Pool != "default" || l.Priority != "normal" {
		t.Errorf("%+v", l)
	}
	w.send("POST", "/api/v1/queue/pools/default/resume", "", nil, auth.ScopeRun)
	again.until(t, "its end", func(e event) bool { return e.kind == "queue" && len(queueOf(t, e).Lines) == 0 })
	rig.Eventually(t, "it ran", func() bool { return w.state("one") == "COMPLETE" })
}

// Each schedule is told when it is changed, has run or is removed, also to who goes on
// at another gateway.
func TestEventsOfSchedules(t *testing.T) {
	w := open(t)
	other := w.gateway()
	stream := w.events(w.url, "/api/v1/events?topics=schedules", "")
	if e, _ := stream.next(); e.kind != "current" {
		t.Errorf("there are none: %+v", e)
	}
	schedule := func(name, state string) func(event) bool {
		return func(e event) bool {
			var s struct {
				Name   string
				Gone   bool
				Next   []string
				Paused *struct{ By string }
				Last   *struct{ State string }
			}
			if err := json.Unmarshal([]byte(e.data), &s); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			if e.kind != "schedule" || s.Name != name {
				return false
			}
			switch state {
			case "there":
				return len(s.Next) == 5
			case "paused":
				return s.Paused != nil && s.Paused.By == "me"
			case "gone":
				return s.Gone
			}
			return s.Last != nil && s.Last.State == state
		}
	}
	for _, name := range []string{"a", "b"} {
		if code := w.send("POST", "/api/v1/schedules", `{"name":"`+name+`","every":"1h","task":{"argv":["true"]}}`, nil, auth.ScopeRun); code != 201 {
			t.Fatalf("add %s: %d", name, code)
		}
		stream.until(t, "the new one", schedule(name, "there"))
	}
	w.send("POST", "/api/v1/schedules/b/run", "", nil, auth.ScopeRun)
	stream.until(t, "its run", schedule("b", "COMPLETE"))
	w.send("POST", "/api/v1/schedules/a/pause", "", nil, auth.ScopeRun)
	last := stream.until(t, "the pause", schedule("a", "paused"))
	_ = stream.res.Body.Close()
	again := w.events(other, "/api/v1/events?topics=schedules", last.id)
	w.send("DELETE", "/api/v1/schedules/b", "", nil, auth.ScopeRun)
	there := schedule("b", "there")
	for anew := false; ; { // all comes again only if it was removed before the stream began
		e, ok := again.next()
		switch {
		case !ok:
			t.Fatal("it ended")
		case e.kind == "reset":
			anew = true
		case schedule("b", "gone")(e), anew && e.kind == "current":
			return
		case !anew && e.kind == "current", anew && there(e):
			t.Fatalf("after %s: %+v", last.id, e)
		}
	}
}
