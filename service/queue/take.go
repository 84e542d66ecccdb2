package queue

import (
	"context"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
)

const (
	// soon is when work goes back that somebody else may take.
	soon = time.Second
	// fullFor is how long a key is taken to be full that was seen to be.
	fullFor = 500 * time.Millisecond
	// maxFullWait bounds the wait of work whose key is full.
	maxFullWait = 5
)

// take decides what becomes of a message, as far as the message alone tells, and
// has the rest done by a goroutine of its own. It asks nobody.
func (q *Queue) take(ctx context.Context, d *delivery) {
	if q.paused[d.Pool] || ctx.Err() != nil {
		d.giveBack(0)
		return
	}
	if err := d.read(); err != nil {
		q.goOn(d, func() { q.reject(d, d.Attempt, pb.ReasonRejected, err.Error()) })
		return
	}
	if wait := q.notYet(ctx, d); wait > 0 {
		d.giveBack(wait)
		return
	}
	if text := q.tooLate(ctx, d); text != "" {
		q.goOn(d, func() { q.expire(d, text) })
		return
	}
	if wait := q.fullKey(d); wait > 0 {
		q.returned++
		d.giveBack(wait)
		return
	}
	if q.refusedLately(d.ID) {
		q.returned++
		d.giveBackSoon()
		return
	}
	place := q.cfg.Runner.AdmitFree()
	if place == nil {
		q.Counts.Returned.Add(1)
		d.giveBack(0)
		return
	}
	c := q.claim(d.Pool)
	q.goOn(d, func() {
		defer place.Return()
		defer q.claimed(c)
		q.attempt(d, place, c)
	})
}

// goOn keeps the message in hand while f runs.
func (q *Queue) goOn(d *delivery, f func()) {
	q.lives.Go(func() {
		defer q.hold(d)()
		f()
	})
}

func (q *Queue) claim(pool string) *claiming {
	c := &claiming{pool, make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claims[c] = struct{}{}
	return c
}

// claimed says, once, that an attempt has its record, or gets none.
func (q *Queue) claimed(c *claiming) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, there := q.claims[c]; there {
		delete(q.claims, c)
		close(c.done)
	}
}

// read reads the request.
func (d *delivery) read() (err error) {
	if err := pb.CheckQueueID(d.ID); err != nil {
		return err
	}
	if d.req, err = d.Request(); err != nil {
		return err
	}
	if d.digest, err = d.req.Digest(); err != nil {
		return err
	}
	d.retries, err = d.task().RetryTerms()
	return err
}

func (d *delivery) task() *pb.Task { return d.req.GetSpec().GetTask() }

// queued is what the records of its attempts say of it.
func (d *delivery) queued() *pb.Queued {
	queued := &pb.Queued{
		Pool: d.Pool, Priority: d.Priority, Seq: int64(d.Seq), Accepted: stamp(d.Accepted),
		Retries: int32(d.retries.Max), Key: d.task().GetConcurrency().GetKey(), KeyMax: d.task().GetConcurrency().GetMax(),
	}
	if d.retries.Max > 0 {
		queued.On = d.retries.On
	}
	if d.retries.Backoff > 0 {
		queued.Backoff = d.retries.Backoff.String()
	}
	return queued
}

// now is the server's time; without an answer, this host's.
func (q *Queue) now(ctx context.Context) time.Time {
	_, latest, err := q.clock.Bounds(ctx)
	if err != nil {
		return time.Now()
	}
	return latest
}

// notYet is how long a first attempt is to wait.
func (q *Queue) notYet(ctx context.Context, d *delivery) time.Duration {
	task := d.task()
	if task.GetDelay() == "" && task.GetNotBefore() == nil {
		return 0
	}
	return d.Begin(task).Sub(q.now(ctx))
}

// tooLate says why work has expired, if it has.
func (q *Queue) tooLate(ctx context.Context, d *delivery) string {
	if d.task().GetExpires() == "" {
		return ""
	}
	return d.TooLate(d.task(), q.now(ctx))
}

// fullKey is how long work is to wait whose key was just seen to be full.
func (q *Queue) fullKey(d *delivery) time.Duration {
	key := d.task().GetConcurrency().GetKey()
	if key == "" {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Now().After(q.full[key]) {
		delete(q.full, key)
		return 0
	}
	return d.fullWait()
}

// fullWait grows with the times that it was waited: many that wait for one key
// must not keep others from theirs.
func (d *delivery) fullWait() time.Duration {
	return time.Duration(min(max(d.times, 1), maxFullWait)) * time.Second
}

// submission is the attempt as the runner takes it.
func (q *Queue) submission(d *delivery, attempt int) (run.Submission, error) {
	headers := func(name string) string { return d.msg.Header.Get(name) }
	s, err := run.NewSubmission(d.req, headers)
	if err != nil {
		return s, err
	}
	s.Group, s.Digest = "", d.digest
	s.Queued, s.Attempt = d.queued(), attempt
	policy := q.cfg.Policy()
	s.HidesCommand = policy.HidesCommands
	return s, nil
}
