package store

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestIsLost(t *testing.T) {
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

func TestMarkLost(t *testing.T) {
	srv := server(t)
	cfg := Config{LostAfter: 300 * time.Millisecond}
	s, other := open(t, srv, cfg), open(t, srv, cfg)
	put(t, s, &pb.Card{Name: "one", Instance: "i1"})
	run, done := newRun("a", pb.State_RUNNING), newRun("b", pb.State_RUNNING)
	run.Aborting = true
	create(t, s, run)
	finish(t, s, done)
	if got, ours, err := open(t, srv, Config{}).MarkLost(t.Context(), "a", nil); err != nil || ours || got.State != pb.State_RUNNING {
		t.Fatalf("with its runner online: got %v, %v, %v", got, ours, err)
	}
	rig.EventuallyIn(t, 10*time.Second, "the run is lost", func() bool {
		lost, err := s.FindLost(t.Context(), []*pb.Run{done, run})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Equal(ids(lost), []string{"a"})
	})
	var marked atomic.Int32
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			got, ours, err := []*Store{s, other}[i%2].MarkLost(t.Context(), "a", func(r *pb.Run) { r.Lines = 5 })
			if err != nil || got.State != pb.State_FAILED || got.Lines != 5 {
				t.Errorf("got %v, %v", got, err)
			}
			if ours {
				marked.Add(1)
			}
		})
	}
	wg.Wait()
	if n := marked.Load(); n != 1 {
		t.Errorf("%d calls marked the run, want 1", n)
	}
	got, _, err := s.Get(t.Context(), "a")
	if err != nil || got.Reason != pb.ReasonLost || got.LogComplete || got.Aborting || got.Ended == nil || got.Tags["team"] != "blue" {
		t.Errorf("got %v, %v", got, err)
	}
}
