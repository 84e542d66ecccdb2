package store

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store/record"
)

func TestRecordComesBack(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, other := open(t, srv, Config{}), open(t, srv, Config{})
	run := newRun("a", pb.State_PENDING)
	rev := create(t, s, run)
	rev = move(t, s, run, rev, pb.State_RUNNING)
	run.Reason, run.Lines, run.Error = pb.ReasonExit, 7, "a \"quoted\"\n\u2028text"
	rev = move(t, s, run, rev, pb.State_COMPLETE)
	got, gotRev, err := other.Get(t.Context(), "a")
	if err != nil || gotRev != rev {
		t.Fatalf("got revision %d (%v), want %d", gotRev, err, rev)
	}
	wantSame(t, got, run)
}

func TestCreateIsTheClaim(t *testing.T) {
	t.Parallel()
	srv := server(t)
	stores := []*Store{open(t, srv, Config{}), open(t, srv, Config{})}
	for round := range 20 {
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				switch _, err := stores[i%2].Create(t.Context(), newRun(name(round), pb.State_PENDING)); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, ErrExists):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 7 {
			t.Fatalf("%d claims won, %d lost; want 1 and 7", won.Load(), lost.Load())
		}
	}
}

func TestFinalWins(t *testing.T) {
	t.Parallel()
	srv := server(t)
	owner, other := open(t, srv, Config{}), open(t, srv, Config{})
	run := newRun("a", pb.State_RUNNING)
	rev := create(t, owner, run)
	lost := proto.CloneOf(run)
	move(t, other, lost, rev, pb.State_FAILED)
	run.State = pb.State_COMPLETE
	if _, err := owner.Update(t.Context(), run, rev); !errors.Is(err, ErrFinal) {
		t.Errorf("got %v, want ErrFinal", err)
	}
}

func TestUpdateErrors(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	run := newRun("a", pb.State_RUNNING)
	if _, err := s.Update(t.Context(), run, 1); !errors.Is(err, ErrUnknownRun) || err.Error() != "unknown run id a" {
		t.Errorf("got %v, want unknown run id a", err)
	}
	rev := create(t, s, run)
	move(t, s, run, rev, pb.State_RUNNING)
	if _, err := s.Update(t.Context(), run, rev); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
}

func TestUnknownRun(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	for _, id := range []string{"nobody", "", "a.b", "*", ">", "a b"} {
		if _, _, err := s.Get(t.Context(), id); !errors.Is(err, ErrUnknownRun) {
			t.Errorf("Get(%q): got %v, want ErrUnknownRun", id, err)
		}
		if err := s.Remove(t.Context(), id); !errors.Is(err, ErrUnknownRun) {
			t.Errorf("Remove(%q): got %v, want ErrUnknownRun", id, err)
		}
	}
	if _, err := s.Create(t.Context(), newRun("a.b", pb.State_PENDING)); err == nil {
		t.Error("an id that is two tokens was taken")
	}
}

func TestFinalRecordIsForgotten(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := open(t, srv, Config{Retention: time.Second, least: time.Second})
	live := newRun("live", pb.State_RUNNING)
	create(t, s, live)
	w, err := s.runs.KV().Watch(within(t, 20*time.Second), "done")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = w.Stop()
		for range w.Updates() { // it may be about to hand over one more, and would do so for ever
		}
	}()
	finish(t, s, newRun("done", pb.State_RUNNING))
	if _, _, err := s.Get(t.Context(), "done"); err != nil {
		t.Fatalf("the record is gone at once: %v", err)
	}
	// Whoever watches is told of the end.
	for e := range w.Updates() {
		if e != nil && e.Operation() != jetstream.KeyValuePut {
			break
		}
	}
	if _, _, err := s.Get(t.Context(), "done"); !errors.Is(err, ErrUnknownRun) {
		t.Errorf("got %v, want ErrUnknownRun", err)
	}
	if got := ids(query(t, s, &pb.Query{All: true}).Runs); len(got) != 1 || got[0] != "live" {
		t.Errorf("runs are %v, want only the live one", got)
	}
	if _, err := s.runs.KV().Get(t.Context(), "done"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("nats kv get would say %v, want not found", err)
	}
	// The id is free again.
	again := newRun("done", pb.State_PENDING)
	rev := create(t, s, again)
	move(t, s, again, rev, pb.State_RUNNING)
}

func TestRemove(t *testing.T) {
	t.Parallel()
	srv := server(t)
	var purged []string
	s := open(t, srv, Config{PurgeLog: func(_ context.Context, run *pb.Run) error {
		purged = append(purged, run.GetLogSubject())
		return nil
	}})
	run := newRun("a", pb.State_RUNNING)
	rev := create(t, s, run)
	if err := s.Remove(t.Context(), "a"); !errors.Is(err, ErrLive) {
		t.Errorf("got %v, want ErrLive", err)
	}
	move(t, s, run, rev, pb.State_COMPLETE)
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if len(purged) != 1 || purged[0] != run.LogSubject {
		t.Errorf("purged %v, want the run's log alone", purged)
	}
	if _, _, err := open(t, srv, Config{}).Get(t.Context(), "a"); !errors.Is(err, ErrUnknownRun) {
		t.Errorf("got %v, want ErrUnknownRun", err)
	}
}

func TestRemoveKeepsTheRecordOfALogItCannotPurge(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{PurgeLog: func(context.Context, *pb.Run) error { return errors.New("no") }})
	finish(t, s, newRun("a", pb.State_RUNNING))
	if err := s.Remove(t.Context(), "a"); err == nil {
		t.Error("no error")
	}
	if _, _, err := s.Get(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestRecordIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	run := newRun("a", pb.State_RUNNING)
	rev := create(t, s, run)
	run.Error = strings.Repeat("\x01ü\"", 20_000)
	move(t, s, run, rev, pb.State_FAILED)
	e, err := s.runs.Get(t.Context(), "a")
	if err != nil || len(e.Body) > maxRecord {
		t.Fatalf("record has %d bytes (%v), want %d at most", len(e.Body), err, maxRecord)
	}
	got, err := record.Decode(e.Body)
	if err != nil {
		t.Fatal(err)
	}
	if cut, ok := strings.CutSuffix(got.Error, "…"); !ok || cut == "" || !strings.HasPrefix(run.Error, cut) {
		t.Errorf("the error's text isn't a beginning of what it was: %.50q", got.Error)
	}
	got.Error = run.Error
	wantSame(t, got, run)

	fat := newRun("b", pb.State_PENDING)
	for i := range 32 {
		fat.Tags[strings.Repeat("k", 200)+name(i)] = strings.Repeat("v", 200)
	}
	if _, err := s.Create(t.Context(), fat); err != nil {
		t.Errorf("tags that fit were refused: %v", err)
	}
	fat.Id = "c"
	fat.Tags["more"] = strings.Repeat("v", maxRecord-len(fat.Tags)*400)
	if _, err := s.Create(t.Context(), fat); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

// TestWhatIsAcceptedCanEnd: the end adds to a record, and is never too large.
func TestWhatIsAcceptedCanEnd(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	run := newRun("a", pb.State_PENDING)
	for size := maxRecord; ; size -= 64 {
		run.Tags["big"] = strings.Repeat("v", size)
		rev, err := s.Create(t.Context(), run)
		if errors.Is(err, ErrTooLarge) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		run.Started, run.Ended, run.Sha256 = run.Created, run.Created, strings.Repeat("a", 64)
		run.Error, run.Reason, run.Signal = strings.Repeat("x", 5000), pb.ReasonOutputLimit, "SIGRTMIN+15"
		run.Lines, run.Bytes, run.Dropped, run.DroppedBytes = 1<<60, 1<<60, 1<<60, 1<<60
		run.CpuTime, run.PeakMemory = 123456.789012, 1<<50
		run.Compile = &pb.Step{Reason: pb.ReasonOutputLimit, Signal: "SIGKILL", CpuTime: 1.23456789, WallTime: 1.23456789, PeakMemory: 1 << 50}
		rev = move(t, s, run, rev, pb.State_RUNNING)
		move(t, s, run, rev, pb.State_FAILED)
		return
	}
}
