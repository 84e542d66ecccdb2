package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

func put(t *testing.T, s *Store, c *pb.Card) {
	t.Helper()
	if err := putCard(t, s, c); err != nil {
		t.Fatal(err)
	}
}

// cards is the names of known runners; those that are offline are marked.
func cards(t *testing.T, s *Store) []string {
	t.Helper()
	seen, err := s.Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, c := range seen {
		name := c.Card.GetName()
		if !c.Online {
			name += " offline"
		}
		got = append(got, name)
	}
	return got
}

func TestCards(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, runner := open(t, srv, Config{}), open(t, srv, Config{})
	if got := cards(t, s); len(got) != 0 {
		t.Errorf("cards of an empty fleet: %v", got)
	}
	two := &pb.Card{Name: "two", Instance: "i2", Pools: []string{"default"}, Slots: 64}
	put(t, runner, two)
	put(t, runner, &pb.Card{Name: "one", Instance: "i1"})
	put(t, runner, two)
	if got := cards(t, s); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("got %v, want one and two", got)
	}
	seen, err := s.Card(t.Context(), "two")
	if err != nil || !seen.Online || seen.Age > 10*time.Second {
		t.Fatalf("got %+v, %v", seen, err)
	}
	wantSame(t, seen.Card, two)
	for _, name := range []string{"nobody", "*", ""} {
		if _, err := s.Card(t.Context(), name); !errors.Is(err, ErrUnknownRunner) {
			t.Errorf("Card(%q): got %v, want ErrUnknownRunner", name, err)
		}
	}
	if n := consumers(t, s); n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestOfflineIsAMatterOfAge(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := open(t, srv, Config{OnlineFor: 300 * time.Millisecond})
	put(t, s, &pb.Card{Name: "one"})
	rig.Eventually(t, "the runner is offline", func() bool {
		return slices.Equal(cards(t, s), []string{"one offline"})
	})
	put(t, s, &pb.Card{Name: "one"})
	if got := cards(t, s); !slices.Equal(got, []string{"one"}) {
		t.Errorf("got %v after the card was written again", got)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := open(t, srv, Config{})
	put(t, s, &pb.Card{Name: "one"})
	if err := s.Forget(t.Context(), "one"); !errors.Is(err, ErrLive) {
		t.Errorf("got %v, want ErrLive", err)
	}
	impatient := open(t, srv, Config{OnlineFor: time.Nanosecond})
	if err := impatient.Forget(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if got := cards(t, s); len(got) != 0 {
		t.Errorf("got %v, want no card", got)
	}
	if err := s.Forget(t.Context(), "one"); !errors.Is(err, ErrUnknownRunner) {
		t.Errorf("got %v, want ErrUnknownRunner", err)
	}
	put(t, s, &pb.Card{Name: "one"})
	if got := cards(t, s); !slices.Equal(got, []string{"one"}) {
		t.Errorf("got %v, want one again", got)
	}
}

func TestWatchCards(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, runner := open(t, srv, Config{}), open(t, srv, Config{OnlineFor: time.Nanosecond})
	put(t, runner, &pb.Card{Name: "one"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan Seen, 16)
	done := make(chan error, 1)
	go func() {
		done <- s.WatchCards(ctx, func(c Seen) error {
			events <- c
			return nil
		})
	}()
	next := func(name string, forgotten bool) {
		t.Helper()
		select {
		case c := <-events:
			if c.Card.GetName() != name || c.Forgotten != forgotten || c.Online == forgotten {
				t.Errorf("got %+v, want %s, forgotten %v", c, name, forgotten)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing of %s", name)
		}
	}
	next("one", false)
	put(t, runner, &pb.Card{Name: "two"})
	next("two", false)
	if err := runner.Forget(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	next("one", true)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop := errors.New("enough")
	if err := s.WatchCards(t.Context(), func(Seen) error { return stop }); err != stop {
		t.Errorf("got %v, want what each returned", err)
	}
	rig.Eventually(t, "no consumer is left", func() bool { return consumers(t, s) == 0 })
}
