package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// IsLost says whether a run that is not final has lost its runner: no card of
// that name (it was removed, and not lately), a card older than the given age, or a card
// of another instance, which has taken over the name.
func IsLost(run *pb.Run, cards []Seen, after time.Duration) bool {
	if Final(run.GetState()) || run.GetRunner() == "" { // it waits for a runner
		return false
	}
	for _, c := range cards {
		if c.Card.GetName() == run.GetRunner() {
			return c.Age >= after || c.Card.GetInstance() != run.GetInstance()
		}
	}
	return true
}

// FindLost picks those of the runs that are lost, such as from a query's reply.
// It reads no cards if all runs are final.
func (s *Store) FindLost(ctx context.Context, runs []*pb.Run) ([]*pb.Run, error) {
	var lost []*pb.Run
	cards := make(map[string][]Seen)
	for _, run := range runs {
		if Final(run.GetState()) || run.GetRunner() == "" {
			continue
		}
		card, ok := cards[run.GetRunner()]
		if !ok {
			seen, err := s.Card(ctx, run.GetRunner())
			switch {
			case err == nil:
				card = []Seen{seen}
			case !errors.Is(err, ErrUnknownRunner):
				return nil, err
			default:
				lately, err := s.removedLately(ctx, run.GetRunner())
				if err != nil {
					return nil, err
				}
				if lately {
					continue
				}
			}
			cards[run.GetRunner()] = card
		}
		if IsLost(run, card, s.cfg.LostAfter) {
			lost = append(lost, run)
		}
	}
	return lost, nil
}

// removedLately says whether a runner's card was removed so short a time ago that
// the runner may be alive and about to write it again: anybody can remove a key.
func (s *Store) removedLately(ctx context.Context, name string) (bool, error) {
	marker, err := s.fleet.GetLeader(ctx, name)
	switch {
	case err == nil:
		return true, nil // it is back
	case !errors.Is(err, kv.ErrNoKey):
		return false, fmt.Errorf("cannot read card of runner %s: %w", name, err)
	case marker.Rev == 0:
		return false, nil
	}
	now, err := s.ServerTime(ctx)
	return now.Sub(marker.Stored) < s.cfg.LostAfter, err
}
