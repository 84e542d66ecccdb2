package service

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// markLost ends the runs among these whose runner is gone, and says whether
// there were any.
func (s *Service) markLost(ctx context.Context, runs []*pb.Run) (any bool) {
	// After NATS was away all cards are old: each runner needs a while to be back.
	if back := s.backAt.Load(); back != 0 && time.Since(time.Unix(0, back)) < s.cfg.LostAfter {
		return false
	}
	lost, err := s.store.FindLost(ctx, runs)
	if err != nil {
		s.log.Warn("cannot tell which runners are gone", "error", err)
		return false
	}
	for _, run := range runs {
		if s.runner.Orphan(run) && !slices.Contains(lost, run) {
			lost = append(lost, run)
		}
	}
	for _, run := range lost {
		if err := s.runner.MarkLost(ctx, run); err != nil {
			s.log.Warn("cannot mark a run lost", "run", run.GetId(), "error", err)
			continue
		}
		any = true
	}
	return any
}

// dead remembers whose runs have been ended, so that a runner that never comes
// back is looked through once.
type dead struct {
	mu     sync.Mutex
	looked time.Time
	done   map[string]time.Time // by runner: when it was last seen
}

// markLostOfDead ends all runs of runners that are gone. It looks for such
// runners no more often than cards are written.
func (s *Service) markLostOfDead(ctx context.Context) (any bool) {
	if !s.dead.mu.TryLock() {
		return false // somebody looks already
	}
	defer s.dead.mu.Unlock()
	if time.Since(s.dead.looked) < s.cfg.CardInterval {
		return false
	}
	s.dead.looked = time.Now()
	cards, err := s.store.Cards(ctx)
	if err != nil {
		s.log.Warn("cannot tell which runners are gone", "error", err)
		return false
	}
	for _, c := range cards {
		name := c.Card.GetName()
		if c.Age < s.cfg.LostAfter || s.dead.done[name].Equal(c.LastSeen) {
			continue
		}
		runs, err := s.store.Live(ctx, name)
		if err != nil {
			s.log.Warn("cannot list the runs of a runner that is gone", "runner", name, "error", err)
			continue
		}
		any = s.markLost(ctx, runs) || any
		if s.dead.done == nil {
			s.dead.done = map[string]time.Time{}
		}
		s.dead.done[name] = c.LastSeen
	}
	return any
}
