package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/rig"
)

// Everything but running works with no runner online.
func TestWithoutRunners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.put(fmt.Sprint("w", i), "true", in("db", "low"))
	}
	w.put("other", "true")
	lines, err := w.c.Queue(t.Context())
	if err != nil || len(lines) != 2 || lines[0].Pool != "db" || lines[0].Waiting != 3 || lines[1].Pool != "default" || lines[1].Waiting != 1 || lines[1].Running != 0 {
		t.Fatalf("got %+v, %v", lines, err)
	}
	whole, err := w.c.Whole(t.Context(), "w0")
	if err != nil || whole.GetState() != pb.State_PENDING || !client.IsWaiting(whole) {
		t.Errorf("got %s, %v", whole, err)
	}
	if run, err := w.c.Abort(t.Context(), "w0", time.Second); err != nil || run.GetState() != pb.State_ABORTED {
		t.Errorf("abort: got %s, %v", run, err)
	}
	if run, err := w.c.Dequeue(t.Context(), "w1"); err != nil || run.GetState() != pb.State_ABORTED {
		t.Errorf("rm: got %s, %v", run, err)
	}
	if _, err := w.c.Dequeue(t.Context(), "w1"); !errors.Is(err, client.ErrNotWaiting) {
		t.Errorf("rm again: got %v", err)
	}
	if run, err := w.c.Wait(rig.Within(t, rig.Patience), "w1"); err != nil || run.GetState() != pb.State_ABORTED {
		t.Errorf("wait: got %s, %v", run, err)
	}
	if n, err := w.c.Purge(t.Context(), "db"); err != nil || n != 1 {
		t.Errorf("purge: got %d, %v", n, err)
	}
	if err := w.c.Pause(t.Context(), "default", "test"); err != nil {
		t.Errorf("pause: %v", err)
	}
	w.start(service.Config{Name: "web1", Pools: []string{"db", "default"}})
	for _, id := range []string{"w0", "w1", "w2"} {
		want(t, w.final(id), `ABORTED aborted 0 attempt 1 next ""`)
	}
	w.none("other") // its pool is paused
	if err := w.c.Resume(t.Context(), "default"); err != nil {
		t.Error(err)
	}
	want(t, w.final("other"), `COMPLETE exit 0 attempt 1 next ""`)
	w.emptied()
}

// A pause returns when each online runner has confirmed; nothing starts then.
func TestPause(t *testing.T) {
	t.Parallel()
	w := newSite(t)
	w.start(service.Config{Name: "web1"})
	frozen := w.process(child{Name: "web2"})
	w.put("before", "true")
	w.final("before")
	if err := w.c.Pause(t.Context(), "default", "me"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		w.put(fmt.Sprint("p", i), "true")
	}
	if lines, err := w.c.Queue(t.Context()); err != nil || len(lines) != 1 || !lines[0].Paused || lines[0].Waiting != 20 {
		t.Errorf("got %+v, %v", lines, err)
	}
	if n := w.left(); n != 20 {
		t.Errorf("got %d messages, want 20", n)
	}
	if err := frozen.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var unconfirmed *client.UnconfirmedError
	if err := w.c.Resume(t.Context(), "default"); !errors.As(err, &unconfirmed) || len(unconfirmed.Runners) != 1 || unconfirmed.Runners[0] != "web2" {
		t.Errorf("got %v, want that web2 has not confirmed", err)
	}
	for i := range 20 {
		w.final(fmt.Sprint("p", i))
	}
	w.emptied()
}

// Work between two attempts can be removed and aborted as any other.
func TestRemovedBetweenAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	for _, id := range []string{"rm", "abort"} {
		w.put(id, "exit 1", with(t, `{"retries":{"max":3,"on":["exit"],"backoff":"10m"}}`))
		want(t, w.final(id), `COMPLETE exit 1 attempt 1 next "`+id+`-a2"`)
	}
	if run, err := w.c.Dequeue(t.Context(), "rm"); err != nil || run.GetId() != "rm-a2" {
		t.Errorf("got %s, %v", run, err)
	}
	if run, err := w.c.Abort(t.Context(), "abort", time.Second); err != nil || run.GetId() != "abort-a2" {
		t.Errorf("got %s, %v", run, err)
	}
	want(t, w.final("rm-a2"), `ABORTED aborted 0 attempt 2 next ""`)
	want(t, w.final("abort-a2"), `ABORTED aborted 0 attempt 2 next ""`)
	if run, err := w.c.Wait(rig.Within(t, rig.Patience), "rm"); err != nil || run.GetId() != "rm-a2" {
		t.Errorf("wait: got %s, %v", run, err)
	}
	w.emptied()
}

// Failed work can be tried again, whatever its number of attempts is.
func TestRetryByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	mark := filepath.Join(t.TempDir(), "mark")
	w.put("hand", "[ -e "+mark+" ]", with(t, `{"retries":{"max":1,"on":["exit"]}}`))
	want(t, w.final("hand-a2"), `COMPLETE exit 1 attempt 2 next ""`)
	w.emptied()
	failed, err := w.c.FailedWork(t.Context())
	if err != nil || len(failed) != 1 || failed[0].GetId() != "hand-a2" {
		t.Fatalf("got %v, %v", failed, err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := w.c.Retry(t.Context(), "hand")
	if err != nil || id != "hand-a3" {
		t.Fatalf("got %q, %v", id, err)
	}
	want(t, w.final("hand-a3"), `COMPLETE exit 0 attempt 3 next ""`)
	if run, err := w.c.Wait(rig.Within(t, rig.Patience), "hand"); err != nil || run.GetId() != "hand-a3" {
		t.Errorf("wait: got %s, %v", run, err)
	}
	if _, err := w.c.Retry(t.Context(), "hand"); err == nil || !strings.Contains(err.Error(), "it has succeeded") {
		t.Errorf("got %v", err)
	}
	w.emptied()
	if failed, err := w.c.FailedWork(t.Context()); err != nil || len(failed) != 0 {
		t.Errorf("got %v, %v", failed, err)
	}
}

// What ran out of memory is tried again where that is asked for, and not else.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("hog", "exec tail /dev/zero", with(t, `{"limits":{"memoryMax":"32M"},"retries":{"max":1,"on":["oom"]}}`))
	w.put("once", "exec tail /dev/zero", with(t, `{"limits":{"memoryMax":"32M"},"retries":{"max":1,"on":["exit","timeout"]}}`))
	want(t, w.final("hog"), `COMPLETE oom 0 attempt 1 next "hog-a2"`)
	want(t, w.final("hog-a2"), `COMPLETE oom 0 attempt 2 next ""`)
	want(t, w.final("once"), `COMPLETE oom 0 attempt 1 next ""`)
	w.emptied()
	w.none("hog-a3")
	w.none("once-a2")
}

// Wait ends with the last attempt, however long there is nothing to be seen.
func TestWaitMeansTheWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("whole", "echo >>"+filepath.Join(t.TempDir(), "n")+"; exit 5", with(t, `{"retries":{"max":1,"on":["exit"],"backoff":"1s"}}`))
	got := make(chan string, 1)
	ctx := rig.Within(t, time.Minute)
	go func() {
		run, err := w.c.Wait(ctx, "whole")
		got <- fmt.Sprint(run.GetId(), run.GetExitCode(), err)
	}()
	w.start(service.Config{Name: "web1"})
	if end := <-got; end != "whole-a25 <nil>" {
		t.Errorf("got %s", end)
	}
}

// Delays are the server's: nothing starts before them.
func TestDelays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	at := time.Now().Add(2 * time.Second).UTC()
	w.put("delay", "true", with(t, `{"delay":"2s"}`))
	w.put("at", "true", with(t, `{"notBefore":"`+at.Format(time.RFC3339Nano)+`"}`))
	w.put("now", "true")
	w.final("now")
	delayed := w.final("delay")
	if waited := delayed.GetStarted().AsTime().Sub(delayed.GetQueued().GetAccepted().AsTime()); waited < 2*time.Second {
		t.Errorf("it was delayed by %s, want 2s", waited)
	}
	if begun := w.final("at").GetStarted().AsTime(); begun.Before(at) {
		t.Errorf("it began at %s, want not before %s", begun, at)
	}
	w.emptied()
}

// Work that has waited too long fails as expired.
func TestExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("late", "true", with(t, `{"expires":"1ms"}`))
	w.put("soon", "true", with(t, `{"expires":"1h"}`))
	w.start(service.Config{Name: "web1"})
	run := w.final("late")
	want(t, run, `FAILED expired 0 attempt 1 next ""`)
	if !strings.Contains(run.GetError(), "for more than 1ms") || !run.GetLogComplete() {
		t.Errorf("got %s", run)
	}
	want(t, w.final("soon"), `COMPLETE exit 0 attempt 1 next ""`)
	w.emptied()
}

// What one host may not do goes to another; when all have refused, the record
// says why each one did.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	strict := &policy.Policy{Isolation: policy.IsolationRules{Allowed: []string{"strict"}, Default: "strict"}}
	w.start(service.Config{Name: "no1", Settings: service.Settings{Policy: strict}})
	w.put("alone", "true", with(t, `{"isolation":"none"}`))
	run := w.final("alone")
	want(t, run, `FAILED rejected 0 attempt 1 next ""`)
	w.start(service.Config{Name: "no2", Settings: service.Settings{Policy: strict}})
	w.put("both", "true", with(t, `{"isolation":"none"}`))
	run = w.final("both")
	if !strings.Contains(run.GetError(), "no1: ") || !strings.Contains(run.GetError(), "no2: ") {
		t.Errorf("got error %q", run.GetError())
	}
	w.start(service.Config{Name: "yes"})
	for i := range 3 {
		w.put(fmt.Sprint("third", i), "true", with(t, `{"isolation":"none"}`))
		if run := w.final(fmt.Sprint("third", i)); run.GetRunner() != "yes" || run.GetState() != pb.State_COMPLETE {
			t.Errorf("got %s", run)
		}
	}
	w.put("nouser", "true", with(t, `{"user":"nobody-of-this-name"}`))
	if run := w.final("nouser"); run.GetReason() != pb.ReasonRejected || !strings.Contains(run.GetError(), "yes: ") {
		t.Errorf("got %s", run)
	}
	w.emptied()
}

// At most so many runs with one key, in the whole fleet; others pass them by.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"}, service.Config{Name: "web2"})
	dir := t.TempDir()
	// Each takes one of two places of its own, or writes down that there was none.
	command := `for i in 1 2; do if mkdir ` + dir + `/$i 2>/dev/null; then sleep .2; rmdir ` + dir + `/$i; exit 0; fi; done; echo full >>` + dir + `/full; exit 1`
	for i := range 8 {
		w.put(fmt.Sprint("key", i), command, with(t, `{"concurrency":{"key":"a b/c","max":2}}`))
	}
	w.put("other", "true", with(t, `{"concurrency":{"key":"other","max":1}}`))
	w.final("other")
	for i := range 8 {
		want(t, w.final(fmt.Sprint("key", i)), `COMPLETE exit 0 attempt 1 next ""`)
	}
	if _, err := os.Stat(dir + "/full"); err == nil {
		t.Error("more than 2 ran at a time")
	}
	w.emptied()
}

// A queue at its limit refuses in words, and loses nothing.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "true")
	s, err := w.js.Stream(t.Context(), "RUNNER_QUEUE")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 1
	if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	task := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"true"}}}}
	if _, err := w.c.Enqueue(context.Background(), client.Work{Task: task}); !errors.Is(err, client.ErrQueueFull) {
		t.Errorf("got %v", err)
	}
	w.put("a", "true") // the same work is there already
	w.start(service.Config{Name: "web1"})
	want(t, w.final("a"), `COMPLETE exit 0 attempt 1 next ""`)
}

// The metrics tell of the queue of a runner's pools.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(service.Config{Name: "web1"})
	w.put("m", "true")
	w.final("m")
	w.emptied()
	if err := w.c.Pause(t.Context(), "default", "me"); err != nil {
		t.Fatal(err)
	}
	w.put("waits", "true", in("default", "high"))
	rig.Eventually(t, "the metrics tell so", func() bool {
		reply := httptest.NewRecorder()
		s.Handler().ServeHTTP(reply, httptest.NewRequest("GET", "/metrics", nil))
		body := reply.Body.String()
		return strings.Contains(body, `runnel_queue_depth{pool="default",priority="high",runner="web1"} 1`) &&
			strings.Contains(body, `runnel_queue_done_total{runner="web1"} 1`) && strings.Contains(body, "runnel_queue_oldest_seconds{")
	})
}
