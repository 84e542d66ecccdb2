package queue_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// each does something n times, eight at a time.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	for i := range n {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			do(i)
		})
	}
	wg.Wait()
}

// at some moment while a runner takes work, or just before or after.
func moment() { time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond) }

// work stores work and says what came of it.
func (w *world) work(id, command string, more ...func(*client.Work)) error {
	item := client.Work{Task: &pb.TaskRequest{
		Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{command}}},
	}}
	for _, change := range more {
		change(&item)
	}
	_, err := w.c.Enqueue(w.t.Context(), item)
	return err
}

// What was removed never starts, however close a runner was to starting it.
func TestRemovedNeverStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"}, service.Config{Name: "web2"})
	dir := t.TempDir()
	removed := make([]bool, 80)
	each(len(removed), func(i int) {
		id := fmt.Sprint("r", i)
		if err := w.work(id, "touch "+filepath.Join(dir, id)); err != nil {
			t.Error(err)
			return
		}
		moment()
		run, err := w.c.Dequeue(t.Context(), id)
		removed[i] = err == nil
		if err == nil && run.GetState() != pb.State_ABORTED || err != nil && !errors.Is(err, client.ErrNotWaiting) {
			t.Errorf("%s: got %s, %v", id, run, err)
		}
	})
	w.emptied()
	n := 0
	for i, gone := range removed {
		id, end := fmt.Sprint("r", i), `COMPLETE exit 0 attempt 1 next ""`
		if gone {
			n, end = n+1, `ABORTED aborted 0 attempt 1 next ""`
		}
		want(t, w.final(id), end)
		if _, err := os.Stat(filepath.Join(dir, id)); (err == nil) == gone {
			t.Errorf("%s was removed: %v, and its file: %v", id, gone, err)
		}
	}
	t.Logf("%d of %d were removed", n, len(removed))
}

// Nothing follows an abort, at whichever moment of whichever attempt it comes.
func TestAbortedIsNeverRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"}, service.Config{Name: "web2"})
	aborted := make([]bool, 80)
	retries := with(t, `{"grace":"1ms","retries":{"max":3,"on":["lost","exit","signal","timeout","oom"]}}`)
	each(len(aborted), func(i int) {
		id := fmt.Sprint("a", i)
		if err := w.work(id, "sleep .0"+fmt.Sprint(i%4)+"; exit 1", retries); err != nil {
			t.Error(err)
			return
		}
		for range i % 6 {
			moment()
		}
		run, err := w.c.Abort(t.Context(), id, 30*time.Second)
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if aborted[i] = run.GetState() == pb.State_ABORTED; !aborted[i] && run.GetAttempt() != 4 {
			t.Errorf("%s: an abort came back with attempt %d, %s", id, run.GetAttempt(), run.GetState())
		}
	})
	w.emptied()
	n := 0
	for i, gone := range aborted {
		id := fmt.Sprint("a", i)
		attempts, err := w.c.Attempts(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for k, run := range attempts {
			last := k+1 == len(attempts)
			if run.GetState() == pb.State_ABORTED && (!last || run.GetNext() != "") || last && gone != (run.GetState() == pb.State_ABORTED) {
				t.Errorf("%s was aborted: %v, and attempt %d of %d is %s, next %q", id, gone, k+1, len(attempts), run.GetState(), run.GetNext())
			}
		}
		if !gone && len(attempts) != 4 {
			t.Errorf("%s was not aborted, and has %d attempts", id, len(attempts))
		}
		if gone {
			n++
		}
	}
	t.Logf("%d of %d were aborted", n, len(aborted))
}

// confirmed pauses or resumes until all have said that they know: a busy machine may
// take longer than a client waits.
func (w *world) confirmed(change func() error) {
	w.t.Helper()
	rig.EventuallyIn(w.t, 2*time.Minute, "each runner confirms", func() bool {
		err := change()
		var unconfirmed *client.UnconfirmedError
		if err != nil && !errors.As(err, &unconfirmed) {
			w.t.Fatal(err)
		}
		return err == nil
	})
}

// While a pool is paused nothing of it starts, though work comes all the time.
func TestPausedStartsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1"}, service.Config{Name: "web2"})
	type pause struct{ from, to time.Time }
	var pauses []pause
	var stop atomic.Bool
	puts, n := sync.WaitGroup{}, 0
	puts.Go(func() {
		for ; n < 300 && !stop.Load(); n++ {
			if err := w.work(fmt.Sprint("p", n), "true"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer puts.Wait()
	defer stop.Store(true)
	for i := range 8 {
		moment()
		w.confirmed(func() error { return w.c.Pause(t.Context(), "default", "test") })
		p := pause{from: time.Now()}
		if err := w.work(fmt.Sprint("in", i), "true"); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, "work waits", func() bool {
			lines, err := w.c.Queue(t.Context())
			return err == nil && len(lines) == 1 && lines[0].Paused && lines[0].Waiting > 0
		})
		p.to = time.Now()
		pauses = append(pauses, p)
		w.confirmed(func() error { return w.c.Resume(t.Context(), "default") })
	}
	stop.Store(true)
	puts.Wait()
	w.emptied()
	for i := range n {
		run := w.final(fmt.Sprint("p", i))
		for _, p := range pauses {
			if begun := run.GetStarted().AsTime(); begun.After(p.from) && begun.Before(p.to) {
				t.Errorf("%s began at %s, in the pause from %s to %s", run.GetId(), begun, p.from, p.to)
			}
		}
	}
	t.Logf("%d tasks in %d pauses", n, len(pauses))
}

// A queue at its limit says so to some of those who come at once, and has a place
// again as soon as one is taken: who was accepted is done, who was not is unknown.
func TestFullQueueLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{Name: "web1", Settings: service.Settings{Slots: 1}})
	w.put("make", "true")
	s, err := w.js.Stream(t.Context(), "RUNNER_QUEUE")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 3
	if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	accepted := make([]bool, 120)
	each(len(accepted), func(i int) {
		err := w.work(fmt.Sprint("f", i), "true")
		accepted[i] = err == nil
		if err != nil && (!errors.Is(err, client.ErrQueueFull) || !strings.Contains(err.Error(), "the queue is full")) {
			t.Errorf("got %v", err)
		}
	})
	w.emptied()
	n := 0
	for i, in := range accepted {
		id := fmt.Sprint("f", i)
		if !in {
			w.none(id)
			continue
		}
		n++
		want(t, w.final(id), `COMPLETE exit 0 attempt 1 next ""`)
	}
	if n == 0 {
		t.Error("nothing was accepted")
	}
	t.Logf("%d of %d were accepted", n, len(accepted))
}
