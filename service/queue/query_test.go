package queue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// ask is what the verb query answers, in words.
func (w *world) ask(q *pb.Query) string {
	w.t.Helper()
	reply, err := w.c.Query(rig.Within(w.t, rig.Patience), q)
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, run := range reply.GetRuns() {
		word := fmt.Sprint(run.GetId(), " ", run.GetState())
		if run.GetReason() != "" {
			word += " " + run.GetReason()
		}
		if waits := run.GetQueued().GetWaits(); waits != "" {
			word += " " + waits
		}
		if run.GetNext() != "" {
			word += " next " + run.GetNext()
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// What the verb query says of an id whose work waits, waits for its next attempt, was
// removed or has expired.
func TestQueryOfWorkThatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("done", "true")
	w.final("done")
	w.put("waits", "true", in("nobody", "low"), with(t, `{"tags":{"app":"web"}}`))
	w.put("flaky", "exit 3", with(t, `{"retries":{"max":1,"on":["exit"],"backoff":"1h"}}`))
	w.final("flaky")
	w.put("removed", "true", in("nobody", "normal"))
	if _, err := w.c.Dequeue(t.Context(), "removed"); err != nil {
		t.Fatal(err)
	}
	w.put("late", "true", in("nobody", "normal"), with(t, `{"expires":"1s"}`))
	rig.Eventually(t, "the late one has expired", func() bool { return w.ask(&pb.Query{Runs: []string{"late"}}) == "late FAILED expired" })

	pending, live := []pb.State{pb.State_PENDING}, []pb.State{pb.State_RUNNING}
	for _, c := range []struct {
		query *pb.Query
		want  string
	}{
		{&pb.Query{Runs: []string{"waits"}}, "waits PENDING runner"},
		{&pb.Query{Runs: []string{"waits"}, States: pending}, "waits PENDING runner"},
		{&pb.Query{Runs: []string{"waits"}, States: live}, ""},
		{&pb.Query{Runs: []string{"waits"}, States: live, Wait: "50ms"}, ""},
		{&pb.Query{Runs: []string{"waits"}, Tags: map[string]string{"app": "web"}}, "waits PENDING runner"},
		{&pb.Query{Runs: []string{"waits"}, Tags: map[string]string{"app": "db"}}, ""},
		{&pb.Query{Runs: []string{"waits"}, Group: "waits"}, "waits PENDING runner"},
		{&pb.Query{Runs: []string{"waits"}, Group: "done"}, ""},
		{&pb.Query{Runs: []string{"waits"}, Runner: "web1"}, ""},
		{&pb.Query{Runs: []string{"done", "waits", "done"}}, "waits PENDING runner, done COMPLETE exit"},
		{&pb.Query{Runs: []string{"waits", "nosuch"}}, "unknown run id nosuch"},
		{&pb.Query{Runs: []string{"nosuch", "waits"}}, "unknown run id nosuch"},
		{&pb.Query{Runs: []string{"flaky"}}, "flaky COMPLETE exit next flaky-a2"},
		{&pb.Query{Runs: []string{"flaky-a2"}}, "flaky-a2 PENDING later"},
		{&pb.Query{Runs: []string{"flaky-a2", "flaky"}}, "flaky COMPLETE exit next flaky-a2, flaky-a2 PENDING later"},
		{&pb.Query{Runs: []string{"flaky-a3"}}, "unknown run id flaky-a3"},
		{&pb.Query{Runs: []string{"waits-a2"}}, "unknown run id waits-a2"},
		{&pb.Query{Runs: []string{"removed"}}, "removed ABORTED aborted"},
		{&pb.Query{Runs: []string{"removed"}, States: live, Wait: "30s"}, "removed ABORTED aborted"}, // it can't get there any more
	} {
		got := w.ask(c.query)
		if i := strings.Index(got, "unknown run id"); i >= 0 {
			got = got[i:]
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.query, got, c.want)
		}
	}
	// The attempt that work waits for can be aborted by its own id.
	run, err := w.c.Abort(t.Context(), "flaky-a2", 10*time.Second)
	if err != nil || run.GetState() != pb.State_ABORTED || run.GetId() != "flaky-a2" {
		t.Errorf("abort: got %s, %v", run, err)
	}
	if got := w.ask(&pb.Query{Runs: []string{"flaky-a2"}}); got != "flaky-a2 ABORTED aborted" {
		t.Errorf("then: %s", got)
	}
	if _, err := w.c.Dequeue(t.Context(), "waits-a2"); err == nil {
		t.Error("an attempt is removed that nothing waits for")
	}
	if run, err := w.c.Dequeue(t.Context(), "waits"); err != nil || run.GetState() != pb.State_ABORTED {
		t.Errorf("rm: %s, %v", run, err)
	}
	w.emptied()
}

// Who waits for the end of work that has not begun gets it, however long it waits in
// the queue; its runner comes while the query is under way, or before.
func TestQueryWaitsForWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("late", "exit 4", in("batch", "high"))
	q := &pb.Query{Runs: []string{"late"}, States: []pb.State{pb.State_COMPLETE, pb.State_FAILED}, Wait: "30s"}
	heard := make(chan string)
	go func() {
		got := ""
		for got == "" {
			got = w.ask(q)
		}
		heard <- got
	}()
	w.start(service.Config{Name: "web2", Pools: []string{"batch"}})
	if got := <-heard; got != "late COMPLETE exit" {
		t.Errorf("got %q", got)
	}
}

// An id that is taken is refused in words, whether its work waits or has ended, and
// the same request is the same work.
func TestIDsThatAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"})
	w.put("ended", "true")
	w.final("ended")
	w.put("waits", "true", in("nobody", "low"))
	for _, id := range []string{"ended", "waits"} {
		for _, pool := range []string{"default", "nobody", "other"} {
			item := client.Work{Pool: pool, Task: &pb.TaskRequest{
				Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{"false"}}},
			}}
			_, err := w.c.Enqueue(rig.Within(t, rig.Patience), item)
			if want := "cannot queue " + id + ": another request has this id already; give it another id"; !errors.Is(err, client.ErrConflict) || err.Error() != want {
				t.Errorf("%s in pool %s: %v", id, pool, err)
			}
			item.Task.Spec.Task.Commands = []string{"true"}
			if got, err := w.c.Enqueue(rig.Within(t, rig.Patience), item); err != nil || got != id {
				t.Errorf("the same as %s in pool %s: %s, %v", id, pool, got, err)
			}
		}
	}
	if n := w.left(); n != 1 {
		t.Errorf("%d messages, want that of what waits", n)
	}
}
