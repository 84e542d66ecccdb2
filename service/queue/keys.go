package queue

import (
	"context"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// takeKey takes the concurrency key of an attempt, if it has one, or gives the
// message back.
func (q *Queue) takeKey(ctx context.Context, d *delivery, n int) bool {
	c := d.task().GetConcurrency()
	if c == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	taken, err := q.cfg.Work.TakeKey(ctx, c.GetKey(), pb.AttemptID(d.ID, n), c.GetMax())
	if err != nil {
		q.log.Warn("cannot start work now", "work", d.ID, "error", err)
		d.giveBack(soon)
		return false
	}
	if !taken {
		q.mu.Lock()
		q.full[c.GetKey()] = time.Now().Add(fullFor)
		q.mu.Unlock()
		d.giveBack(d.fullWait())
	}
	return taken
}

// giveKey is for an attempt that did not start.
func (q *Queue) giveKey(d *delivery, n int) {
	if key := d.task().GetConcurrency().GetKey(); key != "" {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		q.giveKeyOf(ctx, key, pb.AttemptID(d.ID, n))
	}
}

// giveKeyOf gives back what an attempt had: should that fail, whoever finds the key
// full looks who still runs.
func (q *Queue) giveKeyOf(ctx context.Context, key, id string) {
	q.mu.Lock()
	delete(q.full, key)
	q.mu.Unlock()
	if err := q.cfg.Work.GiveKey(ctx, key, id); err != nil {
		q.log.Warn("cannot give back the concurrency key of a run", "run", id, "error", err)
	}
}

// Ended is told of each run that has become final here, also of one that another
// runner had and has lost.
func (q *Queue) Ended(record *pb.Run) {
	if q == nil {
		return
	}
	q.mu.Lock()
	if _, wanted := q.ends[record.GetId()]; wanted {
		q.ends[record.GetId()] = record
	}
	q.mu.Unlock()
	key := record.GetQueued().GetKey()
	if key == "" || record.GetRunner() == q.cfg.Name {
		return
	}
	q.lives.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		q.giveKeyOf(ctx, key, record.GetId())
	})
}
