package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func sightOf(pairs ...string) *sight {
	s := &sight{items: map[string]item{}}
	for i := 0; i < len(pairs); i += 2 {
		s.items[pairs[i]] = item{mark: pairs[i+1], data: []byte(pairs[i+1])}
	}
	return s
}

func TestSights(t *testing.T) {
	none, one := sightOf(), sightOf("a", "1", "b", "2")
	for _, c := range []struct {
		old, now *sight
		want     []string
	}{
		{none, none, nil},
		{none, one, []string{"a", "b"}},
		{one, none, []string{"a", "b"}},
		{one, one, nil},
		{one, sightOf("b", "2", "a", "1"), nil},
		{one, sightOf("a", "1", "b", "3"), []string{"b"}},
		{one, sightOf("b", "2", "c", "1"), []string{"c", "a"}},
		{one, sightOf("a", "1"), []string{"b"}},
	} {
		if got := c.now.after(c.old); !slices.Equal(got, c.want) {
			t.Errorf("%v after %v: %v, want %v", c.now.keys(), c.old.keys(), got, c.want)
		}
	}
	places := map[string]string{}
	for what, s := range map[string]*sight{
		"none": none, "one": one, "other mark": sightOf("a", "1", "b", "3"), "other key": sightOf("a", "1", "c", "2"), "less": sightOf("a", "1"),
		"moved": sightOf("a", "1b", "", "2"),
	} {
		if was, has := places[s.place()]; has {
			t.Errorf("%s and %s have one place", what, was)
		}
		places[s.place()] = what
	}
	if one.place() != sightOf("b", "2", "a", "1").place() {
		t.Error("one sight has two places")
	}
}

// However many look at a board, it is read once at a time, and not again at once.
func TestBoardIsReadOnce(t *testing.T) {
	reads := 0
	b := newBoard(func(_ context.Context, last *sight) (*sight, error) {
		reads++ // without a lock: only one has the turn
		return sightOf("n", fmt.Sprint(reads)), nil
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := b.now(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.at = time.Now() // a slow machine may have taken longer
	was, _ := b.now(t.Context())
	if again, _ := b.now(t.Context()); again != was {
		t.Error("it was read again at once")
	}
	b.at = time.Now().Add(-boardLook)
	if later, _ := b.now(t.Context()); later == was {
		t.Error("it was not read again later")
	}
}

// A reading that fails leaves what was seen, and the next one tries again; who leaves
// while another reads does not wait for that.
func TestBoardThatCannotBeRead(t *testing.T) {
	cause := errors.New("no server")
	fails := true
	begun, end := make(chan struct{}), make(chan struct{})
	b := newBoard(func(ctx context.Context, last *sight) (*sight, error) {
		if fails {
			return nil, cause
		}
		close(begun)
		<-end
		return sightOf("a", "1"), nil
	})
	if _, err := b.now(t.Context()); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	fails = false
	done := make(chan error)
	go func() {
		_, err := b.now(context.Background())
		done <- err
	}()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.now(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
