package store

import (
	"errors"
	"testing"

	"github.com/runnel-io/runnel/pb"
)

func TestOneOfManyClaimsACard(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	const starts = 16
	won := make(chan int64, starts)
	done := make(chan error, starts)
	for i := range starts {
		go func() {
			_, err := s.ClaimCard(t.Context(), &pb.Card{Name: "web1", Instance: "i", Start: int64(i + 1)}, 0)
			if err == nil {
				won <- int64(i + 1)
			}
			done <- err
		}()
	}
	for range starts {
		if err := <-done; err != nil && !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	}
	if n := len(won); n != 1 {
		t.Fatalf("%d have claimed the card", n)
	}
	if seen, err := s.Card(t.Context(), "web1"); err != nil || seen.Card.GetStart() != <-won {
		t.Errorf("got %v, %v", seen.Card, err)
	}
}

func TestRenewCard(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	own := &pb.Card{Name: "web1", Instance: "i", Start: 5}
	rev, err := s.ClaimCard(t.Context(), own, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RenewCard(t.Context(), own, rev+7); err != nil {
		t.Errorf("of a revision that a lost answer had: %v", err)
	}
	if err := putCard(t, s, &pb.Card{Name: "web1", Instance: "older version"}); err != nil {
		t.Fatal(err)
	}
	if rev, err = s.RenewCard(t.Context(), own, rev); err != nil {
		t.Errorf("over a card without a start number: %v", err)
	}
	if err := putCard(t, s, &pb.Card{Name: "web1", State: StateStopped, Instance: "i", Start: 5}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), "web1"); err != nil {
		t.Fatal(err)
	}
	if rev, err = s.RenewCard(t.Context(), own, rev); err != nil {
		t.Errorf("of a card that was removed: %v", err)
	}
	if err := putCard(t, s, &pb.Card{Name: "web1", Instance: "i", Start: 6, Host: "h2"}); err != nil {
		t.Fatal(err)
	}
	var other *SupersededError
	if _, err = s.RenewCard(t.Context(), own, rev); !errors.As(err, &other) || other.Card.GetStart() != 6 {
		t.Errorf("over another start: got %v, want a SupersededError", err)
	}
}
