package presence

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// MarkLost ends the runs among these whose runner is gone, and says whether
// there were any.
func (p *Presence) MarkLost(ctx context.Context, runs []*pb.Run) (any bool) {
	// After NATS was away all cards are old: each runner needs a while to be back.
	if back := p.backAt.Load(); back != nil && time.Since(*back) < p.cfg.LostAfter {
		return false
	}
	runner := p.runner.Load()
	if runner == nil {
		return false
	}
	lost, err := p.store.FindLost(ctx, runs)
	if err != nil {
		p.log.Warn("cannot tell which runners are gone", "error", err)
		return false
	}
	lost = p.others(lost)
	for _, run := range runs {
		if runner.Orphan(run) && !slices.Contains(lost, run) {
			lost = append(lost, run)
		}
	}
	for _, run := range lost {
		if err := runner.MarkLost(ctx, run); err != nil {
			p.log.Warn("cannot mark a run lost", "run", run.GetId(), "error", err)
			continue
		}
		any = true
	}
	return any
}

// others leaves out the runs of this runner, which knows better than its card. A
// card of its own that looks too old says that the NATS server's clock was set: all
// others look as old, and have a while to write theirs anew.
func (p *Presence) others(lost []*pb.Run) []*pb.Run {
	left := slices.DeleteFunc(slices.Clone(lost), func(run *pb.Run) bool { return run.GetRunner() == p.cfg.Name })
	if len(left) == len(lost) {
		return lost
	}
	now := time.Now()
	p.backAt.Store(&now)
	return nil
}

// dead remembers whose runs have been ended, so that a runner that never comes
// back is looked through once.
type dead struct {
	mu     sync.Mutex
	looked time.Time
	done   map[string]time.Time // by runner: when it was last seen
}

// MarkLostOfDead ends all runs of runners that are gone. It looks for such
// runners no more often than cards are written.
func (p *Presence) MarkLostOfDead(ctx context.Context) (any bool) {
	if !p.dead.mu.TryLock() {
		return false // somebody looks already
	}
	defer p.dead.mu.Unlock()
	if time.Since(p.dead.looked) < p.cfg.CardInterval {
		return false
	}
	p.dead.looked = time.Now()
	cards, err := p.store.Cards(ctx)
	if err != nil {
		p.log.Warn("cannot tell which runners are gone", "error", err)
		return false
	}
	for _, c := range cards {
		name := c.Card.GetName()
		if c.Age < p.cfg.LostAfter || p.dead.done[name].Equal(c.LastSeen) {
			continue
		}
		runs, err := p.store.FindLive(ctx, name)
		if err != nil {
			p.log.Warn("cannot list the runs of a runner that is gone", "runner", name, "error", err)
			continue
		}
		any = p.MarkLost(ctx, runs) || any
		if p.dead.done == nil {
			p.dead.done = map[string]time.Time{}
		}
		p.dead.done[name] = c.LastSeen
	}
	return any
}
