package store

import (
	"slices"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestIsLost(t *testing.T) {
	t.Parallel()
	card := func(instance string, age time.Duration) []Seen {
		return []Seen{{Card: &pb.Card{Name: "other", Instance: "i9"}, Age: time.Hour},
			{Card: &pb.Card{Name: "one", Instance: instance}, Age: age}}
	}
	for _, c := range []struct {
		what  string
		state pb.State
		cards []Seen
		want  bool
	}{
		{"its runner is online", pb.State_RUNNING, card("i1", time.Second), false},
		{"its runner is late", pb.State_RUNNING, card("i1", 59*time.Second), false},
		{"its runner is gone", pb.State_RUNNING, card("i1", time.Minute), true},
		{"it waits and its runner is gone", pb.State_PENDING, card("i1", time.Hour), true},
		{"another one has the name", pb.State_RUNNING, card("i2", 0), true},
		{"its runner was forgotten", pb.State_RUNNING, card("i1", 0)[:1], true},
		{"it is final", pb.State_COMPLETE, nil, false},
	} {
		if got := IsLost(newRun("a", c.state), c.cards, time.Minute); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestFindLost(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := open(t, srv, Config{LostAfter: 300 * time.Millisecond})
	put(t, s, &pb.Card{Name: "one", Instance: "i1"})
	run, done := newRun("a", pb.State_RUNNING), newRun("b", pb.State_RUNNING)
	create(t, s, run)
	finish(t, s, done)
	if lost, err := open(t, srv, Config{}).FindLost(t.Context(), []*pb.Run{run}); err != nil || len(lost) > 0 {
		t.Fatalf("with its runner online: got %v, %v", lost, err)
	}
	rig.Eventually(t, "the run is lost", func() bool {
		lost, err := s.FindLost(t.Context(), []*pb.Run{done, run})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Equal(ids(lost), []string{"a"})
	})
}

// Work that waits in the queue has no runner yet: whoever asks about it while one
// takes it must not call it lost.
func TestWorkWithoutARunnerIsNotLost(t *testing.T) {
	waits := &pb.Run{Id: "waits", State: pb.State_PENDING}
	if IsLost(waits, nil, time.Minute) {
		t.Error("it counts as lost")
	}
	lost, err := (&Store{}).FindLost(t.Context(), []*pb.Run{waits})
	if err != nil || len(lost) > 0 {
		t.Errorf("%v, %v", lost, err)
	}
}
