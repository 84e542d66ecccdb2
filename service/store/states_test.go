package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
)

var allStates = []pb.State{pb.State_UNKNOWN, pb.State_PENDING, pb.State_RUNNING,
	pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT}

func TestFinal(t *testing.T) {
	t.Parallel()
	for _, s := range allStates {
		if got, want := Final(s), s != pb.State_PENDING && s != pb.State_RUNNING; got != want {
			t.Errorf("Final(%s) is %v, want %v", s, got, want)
		}
	}
}

func TestLivesFollowTheTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state := pb.State_PENDING
		life := []pb.State{state}
		for range 6 {
			next := rapid.SampledFrom(allStates).Draw(t, "next")
			if CanMove(state, next) {
				state = next
				life = append(life, state)
			}
		}
		for i, s := range life {
			last := i == len(life)-1
			switch {
			case Final(s) && !last:
				t.Fatalf("%v: goes on after its end", life)
			case i > 0 && s == pb.State_PENDING && life[i-1] != pb.State_PENDING:
				t.Fatalf("%v: goes back", life)
			case s == pb.State_UNKNOWN:
				t.Fatalf("%v: becomes unknown", life)
			case (s == pb.State_COMPLETE || s == pb.State_TIMEDOUT) && life[i-1] != pb.State_RUNNING:
				t.Fatalf("%v: ends without having run", life)
			}
			for _, later := range life[i:] {
				if !canReach(s, later) {
					t.Fatalf("%v: %s was said not to lead to %s", life, s, later)
				}
			}
		}
	})
}

// TestUpdatesFollowTheTable plays random writes of two stores on one record
// against a model of it.
func TestUpdatesFollowTheTable(t *testing.T) {
	t.Parallel()
	srv := server(t)
	stores := []*Store{open(t, srv, Config{}), open(t, srv, Config{})}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		run := newRun(name(n), rapid.SampledFrom([]pb.State{pb.State_PENDING, pb.State_RUNNING}).Draw(rt, "first"))
		revs := []uint64{create(t, stores[0], run)}
		state := run.State
		for range rapid.IntRange(1, 6).Draw(rt, "writes") {
			writer := rapid.SampledFrom(stores).Draw(rt, "store")
			rev := rapid.SampledFrom(revs).Draw(rt, "rev")
			to := rapid.SampledFrom(allStates).Draw(rt, "to")
			next := proto.CloneOf(run)
			next.State = to
			got, err := writer.Update(t.Context(), next, rev)
			latest := rev == revs[len(revs)-1]
			switch {
			case err == nil && (!latest || !CanMove(state, to)):
				rt.Fatalf("update from %s to %s at revision %d of %v was taken", state, to, rev, revs)
			case err == nil:
				revs, state = append(revs, got), to
			case latest && CanMove(state, to):
				rt.Fatalf("update from %s to %s was refused: %v", state, to, err)
			case Final(state) && !errors.Is(err, ErrFinal) && !errors.Is(err, ErrIllegalMove):
				rt.Fatalf("update of a final record: got %v, want ErrFinal", err)
			case !Final(state) && latest && !errors.Is(err, ErrIllegalMove):
				rt.Fatalf("update from %s to %s: got %v, want ErrIllegalMove", state, to, err)
			}
		}
		now, rev, err := stores[1].Get(within(t, 5*time.Second), run.Id)
		if err != nil || now.State != state || rev != revs[len(revs)-1] {
			rt.Fatalf("record is %v at %d (%v), want %s at %v", now, rev, err, state, revs)
		}
	})
	if len(stores[0].marks) > n {
		t.Errorf("%d marks are held for %d runs", len(stores[0].marks), n)
	}
}

func TestCreateRefusesUnknown(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	if _, err := s.Create(t.Context(), newRun("a", pb.State_UNKNOWN)); !errors.Is(err, ErrIllegalMove) {
		t.Errorf("got %v, want ErrIllegalMove", err)
	}
	if slices.ContainsFunc(allStates, func(s pb.State) bool { return CanMove(s, pb.State_UNKNOWN) }) {
		t.Error("a state leads to UNKNOWN")
	}
}
