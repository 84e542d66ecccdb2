//go:build unix

package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/store"
)

// submission is a request with an id, read as it came.
func submission(t *testing.T, id string, task *pb.Task) Submission {
	t.Helper()
	s, err := NewSubmission(request(id, task), noHeaders)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ slots, backlog, wantSlots, wantBacklog int }{
		{0, 0, DefaultSlots, DefaultBacklog}, {3, 5, 3, 5}, {3, -1, 3, 0}, {-2, 7, DefaultSlots, 7},
	} {
		if slots, backlog := numbers(c.slots, c.backlog); slots != c.wantSlots || backlog != c.wantBacklog {
			t.Errorf("%d, %d: got %d, %d", c.slots, c.backlog, slots, backlog)
		}
	}
}

// A run's id is the request's, or that of its group and this runner; else it is new.
func TestIDOf(t *testing.T) {
	r := New(Config{Name: "web1"})
	for _, c := range []struct{ id, group, want string }{
		{"", "", ""}, {"a", "", "a"}, {"", "g", "g-web1"}, {"a", "g", "g-web1"},
	} {
		if got := r.idOf(Submission{Request: request(c.id, argv("true")), Group: c.group}); got != c.want {
			t.Errorf("%q, %q: got %q", c.id, c.group, got)
		}
	}
	if a, b := newID(), newID(); a == b || len(a) != 26 {
		t.Errorf("got %s, %s", a, b)
	}
}

// A place that is given back twice is one place, and each change is told.
func TestTickets(t *testing.T) {
	told := 0
	r := New(Config{Slots: 1, Backlog: -1, OnPlaces: func() { told++ }})
	ticket, err := r.Admit(false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Admit(false); !errors.Is(err, ErrFull) {
		t.Errorf("a second one: %v", err)
	}
	if told != 1 || r.Load().Free {
		t.Errorf("told %d times, load %+v", told, r.Load())
	}
	ticket.Return()
	ticket.Return()
	if told != 2 || r.Load().Running != 0 || !r.Load().Free || len(r.coming) != 0 {
		t.Errorf("told %d times, load %+v, %d to come", told, r.Load(), len(r.coming))
	}
	r.lives.Wait() // or a drain would
}

// A request that found no place waits for those before it: they may be the same.
func TestBeforeWaits(t *testing.T) {
	b := newBench(t, nil)
	ticket, err := b.Admit(false)
	if err != nil {
		t.Fatal(err)
	}
	s := submission(t, "same", argv("true"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Before(gone, s); !errors.Is(err, context.Canceled) {
		t.Errorf("it did not wait: %v", err)
	}
	type answer struct {
		run *pb.Run
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		run, err := b.Before(t.Context(), s)
		answers <- answer{run, err}
	}()
	b.Go(ticket, s, func(*pb.Run, error) {})
	if got := <-answers; got.err != nil || got.run.GetId() != "same" {
		t.Errorf("got %v, %v", got.run, got.err)
	}
	b.end()
	ticket, err = b.Admit(false)
	if err != nil {
		t.Fatal(err)
	}
	go ticket.Return() // it gets no run
	if _, err := b.Before(t.Context(), submission(t, "another", argv("true"))); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("got %v", err)
	}
}

// A task that is refused gives its place back and leaves nothing.
func TestGoRefused(t *testing.T) {
	b := newBench(t, nil)
	ticket, err := b.Admit(false)
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	b.Go(ticket, submission(t, "bad", &pb.Task{Argv: []string{"true"}, Timeout: "5"}), func(run *pb.Run, err error) {
		if refused = err; run != nil {
			t.Errorf("got %v", run)
		}
	})
	var invalid *pb.InvalidError
	if !errors.As(refused, &invalid) || !b.Load().Free || len(b.live()) > 0 {
		t.Errorf("got %v, load %+v", refused, b.Load())
	}
}

// An id whose log is kept, while its record is gone, is not used again.
func TestLogKept(t *testing.T) {
	b := newBench(t, nil)
	b.closeLog(b.recordOf("used", "web1", pb.State_RUNNING), "old\n", lines.End{State: "COMPLETE", Reason: pb.ReasonExit})
	if _, err := b.start("used", argv("true")); !errors.Is(err, ErrLogKept) || !strings.Contains(err.Error(), "used") {
		t.Errorf("got %v", err)
	}
	if _, _, err := b.cfg.Store.Get(t.Context(), "used"); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("its record: %v", err)
	}
	if len(b.live()) > 0 {
		t.Error("it is among the runs")
	}
	b.mustStart("unused", argv("true"))
	b.end()
}

// Runs that end at once begin with nothing of their own left behind, whatever
// the order in which the runner forgets them.
func TestForget(t *testing.T) {
	r := New(Config{})
	first, second := &active{id: "a", ticket: &ticket{}}, &active{id: "a", ticket: &ticket{}}
	if got, _ := r.remember(first); got != first {
		t.Error("the first is not the first")
	}
	if got, _ := r.remember(second); got != first {
		t.Error("the second has taken the id")
	}
	r.forget(second) // it never had it
	if len(r.live()) != 1 {
		t.Error("the first was forgotten")
	}
	r.forget(first)
	if r.endAll(causeStopped); len(r.live()) != 0 {
		t.Error("it is remembered")
	}
	if _, ending := r.remember(second); ending != causeStopped {
		t.Errorf("one that comes later ends by %v", ending)
	}
}

// Trouble is over when NATS takes the output again.
func TestTrouble(t *testing.T) {
	r := New(Config{DataDir: t.TempDir()})
	if err := r.Trouble(); err != nil {
		t.Errorf("got %v", err)
	}
	why := errors.New("no space")
	r.setTrouble("r1", why)
	if err := r.Trouble(); !errors.Is(err, why) || !strings.Contains(err.Error(), "r1") {
		t.Errorf("got %v", err)
	}
	r.setTrouble("r2", nil)
	r.setTrouble("r1", nil)
	if err := r.Trouble(); err != nil {
		t.Errorf("got %v", err)
	}
}

// The spools' bytes are those of all runs together.
func TestSpoolBytes(t *testing.T) {
	r := New(Config{DataDir: t.TempDir()})
	if n := r.SpoolBytes(); n != 0 {
		t.Errorf("without a directory: %d", n)
	}
	if err := os.MkdirAll(filepath.Dir(r.spoolPath("a")), 0o700); err != nil {
		t.Fatal(err)
	}
	for id, text := range map[string]string{"a": "123", "b": "4567"} {
		if err := os.WriteFile(r.spoolPath(id), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.SpoolBytes(); n != 7 {
		t.Errorf("got %d", n)
	}
}

// A run that starts late has its wait behind it: its timeout counts from the start.
func TestTimeoutCountsFromStart(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.Slots = 1 })
	b.mustStart("first", argv("sleep", "2"))
	waits := b.mustStart("second", &pb.Task{Argv: []string{"sleep", "0.01"}, Timeout: "1900ms"})
	if waits.GetState() != pb.State_PENDING || waits.GetStarted() != nil {
		t.Errorf("accepted as %v", waits)
	}
	b.end()
	run := b.end()
	if run.GetState() != pb.State_COMPLETE || run.GetStarted().AsTime().Sub(run.GetCreated().AsTime()) < time.Second {
		t.Errorf("got %v", run)
	}
}
