package queue_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// Accepted before any runner is there, and run once one is.
func TestWorkWaitsForARunner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("early", "echo hello")
	if n := w.left(); n != 1 {
		t.Fatalf("got %d messages, want 1", n)
	}
	w.start(service.Config{Name: "web1"})
	run := w.final("early")
	want(t, run, `COMPLETE exit 0 attempt 1 next ""`)
	if run.GetGroup() != "early" || run.GetQueued().GetPool() != "default" || run.GetQueued().GetPriority() != "normal" || !run.GetLogComplete() {
		t.Errorf("got %s", run)
	}
	w.emptied()
}

// No stream is made for who uses no queue; a runner that is idle hears of the first use.
func TestQueueIsMadeByItsFirstUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	if n := w.left(); n != -1 {
		t.Fatalf("there is a stream, with %d messages", n)
	}
	w.put("first", "true")
	want(t, w.final("first"), `COMPLETE exit 0 attempt 1 next ""`)
	w.emptied()
}

// Any client may publish, and gets the stream's acknowledgement.
func TestWorkByAnyClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("make", "true")
	ask := func(subject, body, text string) {
		t.Helper()
		m, err := w.nc.Request(subject, []byte(body), rig.Patience)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.Data), text) {
			t.Errorf("%s: got %s, want %s in it", subject, m.Data, text)
		}
	}
	ask("runner.queue.work.default.high.mine", `{"kind":"runner","spec":{"task":{"argv":["sh","-c","exit 3"]}}}`, `"stream":"RUNNER_QUEUE"`)
	want(t, w.final("mine"), `COMPLETE exit 3 attempt 1 next ""`)
	// A second message on one subject is refused for everybody.
	ask("runner.queue.work.nobody.low.twice", `{"kind":"runner","spec":{"task":{"argv":["true"]}}}`, `"seq"`)
	ask("runner.queue.work.nobody.low.twice", `{"kind":"runner","spec":{"task":{"argv":["true"]}}}`, `maximum messages per subject exceeded`)
	if _, err := w.nc.Request("runner.queue.work.default.urgent.x", nil, rig.Patience); err != nats.ErrNoResponders {
		t.Errorf("unknown priority: got %v, want no responders", err)
	}
}

// The highest that waits starts first, also where one place asks three consumers.
func TestPriorityIsStrict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	order := filepath.Join(t.TempDir(), "order")
	for _, priority := range []string{"low", "normal", "high", "low", "high"} {
		w.put(priority+"-"+filepath.Base(t.TempDir()), "echo "+priority+" >>"+order, in("default", priority))
	}
	w.start(service.Config{Name: "web1", Settings: service.Settings{Slots: 1}})
	w.emptied()
	got, err := os.ReadFile(order)
	if err != nil || strings.Join(strings.Fields(string(got)), " ") != "high high normal low low" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Each attempt is a run of its own, and the one that another follows says so.
func TestAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"}, service.Config{Name: "web2"})
	w.put("flaky", "echo attempt; exit 7", with(t, `{"retries":{"max":2,"on":["exit"]}}`))
	want(t, w.final("flaky"), `COMPLETE exit 7 attempt 1 next "flaky-a2"`)
	want(t, w.final("flaky-a2"), `COMPLETE exit 7 attempt 2 next "flaky-a3"`)
	last := w.final("flaky-a3")
	want(t, last, `COMPLETE exit 7 attempt 3 next ""`)
	if last.GetGroup() != "flaky" || last.GetLines() != 1 || !last.GetLogComplete() {
		t.Errorf("got %s", last)
	}
	w.put("fine", "exit 7", with(t, `{"retries":2}`)) // a number counts for lost ones only
	want(t, w.final("fine"), `COMPLETE exit 7 attempt 1 next ""`)
	w.put("signal", "kill -9 $$", with(t, `{"retries":{"max":1,"on":["signal"]}}`))
	want(t, w.final("signal"), `COMPLETE signal 0 attempt 1 next "signal-a2"`)
	w.put("timeout", "sleep 60", with(t, `{"timeout":"100ms","grace":"1ms","retries":{"max":1,"on":["timeout"],"backoff":"1s"}}`))
	first := w.final("timeout")
	want(t, first, `TIMEDOUT timeout 0 attempt 1 next "timeout-a2"`)
	second := w.final("timeout-a2")
	if waited := second.GetStarted().AsTime().Sub(first.GetEnded().AsTime()); waited < 900*time.Millisecond {
		t.Errorf("the second attempt came after %s, want a second", waited)
	}
	w.emptied()
	w.none("flaky-a4")
	w.none("fine-a2")
	w.none("signal-a3")
}

// An aborted attempt is never followed.
func TestAbortedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("long", "sleep 600", with(t, `{"grace":"1ms","retries":{"max":5,"on":["lost","exit","signal","timeout","oom"]}}`))
	w.running("long")
	if _, err := w.c.Abort(t.Context(), "long", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	run := w.final("long")
	if run.GetState() != pb.State_ABORTED || run.GetNext() != "" {
		t.Errorf("got %s", run)
	}
	w.emptied()
	w.none("long-a2")
}

// The same id under another pool: the same request is dropped, another one is
// dropped and listed.
func TestIdUsedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1", Pools: []string{"a", "b"}})
	ran := filepath.Join(t.TempDir(), "ran")
	body := `{"kind":"runner","spec":{"task":{"commands":["echo >>` + ran + `"]}}}`
	w.put("make", "true", in("a", "normal"))
	for _, c := range []struct{ subject, body string }{
		{"runner.queue.work.a.normal.one", body}, {"runner.queue.work.b.high.one", body},
		{"runner.queue.work.b.low.one", strings.Replace(body, "echo", "echo other", 1)},
	} {
		if _, err := w.nc.Request(c.subject, []byte(c.body), rig.Patience); err != nil {
			t.Fatal(err)
		}
		w.final("one")
	}
	w.emptied()
	if got, _ := os.ReadFile(ran); string(got) != "\n" {
		t.Errorf("got %q, want one start", got)
	}
}

// What can't be a task is recorded, and is gone.
func TestRejectedWorkIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("make", "true")
	for id, body := range map[string]string{
		"garbage": `not json`, "empty": ``, "notask": `{"kind":"runner"}`,
		"differs":  `{"kind":"runner","metadata":{"id":"other"},"spec":{"task":{"argv":["true"]}}}`,
		"retry-a2": `{"kind":"runner","spec":{"task":{"argv":["true"]}}}`,
	} {
		if _, err := w.nc.Request("runner.queue.work.default.normal."+id, []byte(body), rig.Patience); err != nil {
			t.Fatal(err)
		}
		if id == "retry-a2" {
			continue // it has a record of another id
		}
		run := w.final(id)
		want(t, run, `FAILED rejected 0 attempt 1 next ""`)
		if run.GetError() == "" || !run.GetLogComplete() {
			t.Errorf("got %s", run)
		}
	}
	w.emptied()
}
