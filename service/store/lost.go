package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// IsLost says whether a run that is not final has lost its runner: no card of
// that name (it was removed, and not lately), a card older than the given age, or a card
// of another instance, which has taken over the name.
func IsLost(run *pb.Run, cards []Seen, after time.Duration) bool {
	if Final(run.GetState()) {
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
		if Final(run.GetState()) {
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

// MarkLost makes a run FAILED for reason lost, with an incomplete log, if it is
// still live and still lost, and returns the record as it is then; ours says
// whether this call wrote it. fill, if not nil, may add to the record what is
// known of its output. The output's end is the caller's to write.
func (s *Store) MarkLost(ctx context.Context, id string, fill func(*pb.Run)) (run *pb.Run, ours bool, err error) {
	run, rev, err := s.getLatest(ctx, id)
	if err != nil {
		return nil, false, err
	}
	still, err := s.FindLost(ctx, []*pb.Run{run})
	if err != nil || len(still) == 0 {
		return run, false, err
	}
	lost := proto.Clone(run).(*pb.Run)
	lost.State, lost.Reason = pb.State_FAILED, pb.ReasonLost
	lost.Error = fmt.Sprintf("runner %s is gone", run.GetRunner())
	lost.Ended = timestamppb.Now()
	lost.Aborting, lost.LogComplete = false, false
	if fill != nil {
		fill(lost)
	}
	_, err = s.Update(ctx, lost, rev)
	if errors.Is(err, ErrFinal) || errors.Is(err, ErrConflict) {
		// Another one was asked too, or the runner is back: what it wrote stands.
		run, _, err = s.getLatest(ctx, id)
		return run, false, err
	}
	return lost, err == nil, err
}
