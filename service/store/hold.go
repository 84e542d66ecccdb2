package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// SupersededError says that another start number stands in a runner's card.
type SupersededError struct {
	// Card is what stands there.
	Card *pb.Card
}

func (e *SupersededError) Error() string {
	return fmt.Sprintf("another start of runner %s (number %d, on host %s) has taken over its identity", e.Card.GetName(), e.Card.GetStart(), e.Card.GetHost())
}

// ClaimCard writes a runner's card on condition that the one there has the given
// revision, or that there is none if that is 0: of several that start, one alone
// can hold the card's start number. It returns the new revision. Error:
// ErrConflict.
func (s *Store) ClaimCard(ctx context.Context, card *pb.Card, rev uint64) (uint64, error) {
	return s.putCard(ctx, card, kv.Write{Create: rev == 0, Expect: rev})
}

// RenewCard writes the card of a runner that holds it, with the start number of
// its claim, at the revision that the last write returned. A card that was
// removed, or that tells no start number, is written again. Error:
// *SupersededError.
func (s *Store) RenewCard(ctx context.Context, card *pb.Card, rev uint64) (uint64, error) {
	for {
		next, err := s.putCard(ctx, card, kv.Write{Create: rev == 0, Expect: rev})
		conflict := (*kv.ConflictError)(nil)
		if !errors.As(err, &conflict) {
			return next, err
		}
		if rev = 0; !conflict.Gone {
			there := &pb.Card{}
			if err := pb.UnmarshalRecord(conflict.Now.Body, there); err == nil && !sameLife(there, card) {
				return 0, fmt.Errorf("cannot write card of runner %s: %w", card.GetName(), &SupersededError{there})
			}
			rev = conflict.Now.Rev
		}
	}
}

// sameLife says whether a card may be overwritten by another one: it is of the
// same start, or of no start at all, such as a card written by hand.
func sameLife(there, own *pb.Card) bool {
	return there.GetStart() == 0 || there.GetStart() == own.GetStart() && there.GetInstance() == own.GetInstance()
}

func (s *Store) putCard(ctx context.Context, card *pb.Card, w kv.Write) (uint64, error) {
	body, err := pb.MarshalJSON(card)
	if err != nil {
		return 0, fmt.Errorf("cannot write card of runner %s: %w", card.GetName(), err)
	}
	w.Key, w.Body = card.GetName(), body
	rev, err := s.fleet.Put(ctx, w)
	if conflict := (*kv.ConflictError)(nil); errors.As(err, &conflict) {
		return 0, fmt.Errorf("cannot write card of runner %s: %w: %w", card.GetName(), ErrConflict, err)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot write card of runner %s: %w", card.GetName(), err)
	}
	return rev, nil
}
