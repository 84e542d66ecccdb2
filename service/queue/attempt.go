package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/store"
)

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// attempt finds out which attempt is next and runs it to its end.
func (q *Queue) attempt(d *delivery, place *run.Ticket, c *claiming) {
	ctx := context.Background() // the runner's own end ends it
	n, err := d.Attempt, error(nil)
	if d.times > 1 && !brokenNoClaim {
		if n, err = q.next(ctx, d); err != nil || n == 0 {
			q.failedToLook(d, err)
			return
		}
	}
	if brokenCounted {
		n = int(d.times)
	}
	s, err := q.submission(d, n)
	if err == nil {
		err = q.fits(&s)
	}
	if err != nil {
		q.cannot(d, n, err)
		return
	}
	if !q.takeKey(ctx, d, n) {
		return
	}
	id := pb.AttemptID(d.ID, n)
	q.mu.Lock()
	q.ends[id] = nil
	q.mu.Unlock()
	var claim error
	ours := q.cfg.Runner.Go(place, s, func(_ *pb.Run, err error) {
		claim = err
		q.claimed(c)
		if err == nil {
			q.Counts.Started.Add(1)
			d.forget()
			if brokenEarlyAck {
				d.done()
			}
		}
	})
	q.mu.Lock()
	record := q.ends[id]
	delete(q.ends, id)
	q.mu.Unlock()
	if ours {
		q.settle(d, n, record)
		return
	}
	q.notOurs(ctx, d, n, claim)
}

// forget lets go of what the message holds: up to a megabyte, and the run may live
// for days.
func (d *delivery) forget() { d.Body, d.msg.Data, d.req = nil, nil, nil }

func (q *Queue) failedToLook(d *delivery, err error) {
	if err != nil {
		q.log.Warn("cannot read the records of work", "work", d.ID, "error", err)
		d.giveBack(soon)
	}
}

// fits holds an attempt to the policy, and to what this host can do.
func (q *Queue) fits(s *run.Submission) error {
	if err := q.cfg.Runner.Hold(s, q.cfg.Policy()); err != nil {
		return err
	}
	// It is counted from the acceptance, and was looked at.
	s.Request.GetSpec().GetTask().Expires = ""
	return q.cfg.Runner.CheckHost(s.Request.GetSpec().GetTask())
}

// notOurs is for an attempt that was not started here.
func (q *Queue) notOurs(ctx context.Context, d *delivery, n int, err error) {
	var invalid *pb.InvalidError
	switch {
	case err == nil, errors.Is(err, run.ErrConflict), errors.Is(err, store.ErrExists):
		// Somebody has claimed it: the records tell.
		if next, err := q.next(ctx, d); err != nil || next > 0 {
			d.giveBack(soon)
		}
		return // a key is given back by the end of the run
	case errors.Is(err, store.ErrRemoved):
		d.done() // it has ended, and its record was removed
	case errors.As(err, &invalid), errors.Is(err, store.ErrTooLarge), errors.Is(err, run.ErrLogKept), errors.Is(err, run.ErrUnable):
		q.cannot(d, n, err)
	default: // draining, stopping, or NATS is away
		d.giveBack(0)
	}
	q.giveKey(d, n)
}

// settle says the last word on a message whose attempt has ended here. record is
// the attempt's, if its end was written here.
func (q *Queue) settle(d *delivery, n int, record *pb.Run) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	var err error
	if record == nil {
		record, _, err = q.cfg.Store.Get(ctx, pb.AttemptID(d.ID, n))
	}
	switch {
	case errors.Is(err, store.ErrUnknownRun):
		d.done() // removed as soon as it was final
	case err != nil:
		q.log.Warn("cannot read how an attempt has ended", "run", pb.AttemptID(d.ID, n), "error", err)
	case store.Final(record.GetState()):
		q.ended(ctx, d, record)
	}
	// Else its end is not recorded yet: the message comes again.
}

// ended acknowledges work whose last attempt is final, or has the next attempt
// come in its time.
func (q *Queue) ended(ctx context.Context, d *delivery, record *pb.Run) {
	if key := record.GetQueued().GetKey(); key != "" {
		q.giveKeyOf(ctx, key, record.GetId())
	}
	if record.GetNext() != "" {
		q.Counts.Retried.Add(1)
		d.giveBack(q.untilNext(ctx, d, record))
		return
	}
	if !record.Succeeded() && record.GetStarted() != nil {
		if err := q.keepFailed(ctx, d); err != nil {
			q.log.Warn("cannot keep failed work", "work", d.ID, "error", err)
			return // it is delivered again
		}
	}
	q.Counts.Done.Add(1)
	d.done()
}

func (q *Queue) keepFailed(ctx context.Context, d *delivery) error {
	w := d.Work
	if w.Body == nil {
		var err error
		if w, err = q.cfg.Work.Get(ctx, d.ID); err != nil {
			return err
		}
	}
	return q.cfg.Work.KeepFailed(ctx, w)
}

// untilNext is what is left of the wait before the attempt that follows one.
func (q *Queue) untilNext(ctx context.Context, d *delivery, before *pb.Run) time.Duration {
	wait := d.retries.Wait(int(before.GetAttempt()) + 1)
	if wait <= 0 {
		return 0
	}
	return min(wait, before.GetEnded().AsTime().Add(wait).Sub(q.now(ctx)))
}

// next reads, of the records, which attempt is to start now. 0: none, and the
// message was dealt with.
func (q *Queue) next(ctx context.Context, d *delivery) (int, error) {
	var before *pb.Run
	for n := d.Attempt; ; n++ {
		record, _, err := q.cfg.Store.Get(ctx, pb.AttemptID(d.ID, n))
		if errors.Is(err, store.ErrUnknownRun) {
			if before == nil {
				return n, nil
			}
			if wait := q.untilNext(ctx, d, before); wait > 0 {
				d.giveBack(wait)
				return 0, nil
			}
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if n == d.Attempt && uint64(record.GetQueued().GetSeq()) != d.Seq || record.GetDigest() != d.digest {
			q.conflict(ctx, d, record)
			return 0, nil
		}
		if !store.Final(record.GetState()) {
			if record, err = q.live(ctx, record); err != nil || record == nil {
				return 0, err
			}
		}
		if record.GetNext() == "" {
			q.ended(ctx, d, record)
			return 0, nil
		}
		before = record
	}
}

// live looks at an attempt that has not ended. Its runner has the message; one that
// is gone has lost it, and the record is final then. Nil: leave it there.
func (q *Queue) live(ctx context.Context, record *pb.Run) (*pb.Run, error) {
	if record.GetRunner() == q.cfg.Name && !q.cfg.Runner.Orphan(record) {
		return nil, nil
	}
	q.cfg.MarkLost(ctx, []*pb.Run{record})
	record, _, err := q.cfg.Store.Get(ctx, record.GetId())
	if err != nil || !store.Final(record.GetState()) {
		return nil, err
	}
	return record, nil
}

// conflict drops a message whose id another run has: as done, if that is of the
// same request.
func (q *Queue) conflict(ctx context.Context, d *delivery, record *pb.Run) {
	if record.GetDigest() == d.digest {
		d.done()
		return
	}
	q.Counts.Conflicts.Add(1)
	q.log.Warn("work was dropped: another request has its id", "work", d.ID, "pool", d.Pool, "priority", d.Priority)
	if err := q.cfg.Work.NoteConflict(ctx, d.Work); err != nil {
		q.log.Warn("cannot note a conflict", "work", d.ID, "error", err)
		d.giveBack(soon)
		return
	}
	d.drop()
}

// reject records that an attempt can't be, and drops the message.
func (q *Queue) reject(d *delivery, n int, reason, text string) {
	s, err := q.bare(d, n)
	if err == nil {
		var record *pb.Run
		record, err = q.cfg.Runner.Fail(s, reason, text)
		if err == nil && record.GetQueued().GetSeq() != int64(d.Seq) && record.GetDigest() != s.Digest {
			q.conflict(context.Background(), d, record)
			return
		}
		if errors.Is(err, run.ErrConflict) {
			ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
			defer cancel()
			q.conflict(ctx, d, &pb.Run{})
			return
		}
	}
	if err != nil {
		q.log.Warn("cannot record that work is rejected", "work", d.ID, "error", err)
		d.giveBack(soon)
		return
	}
	q.Counts.Rejected.Add(1)
	if d.req != nil && n == d.Attempt && reason != pb.ReasonExpired {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		if err := q.cfg.Work.KeepFailed(ctx, d.Work); err != nil {
			d.giveBack(soon)
			return
		}
	}
	d.drop()
}

// expire is reject for work that has waited too long, unless an attempt of it is
// there.
func (q *Queue) expire(d *delivery, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	n, err := q.next(ctx, d)
	switch {
	case err != nil:
		q.failedToLook(d, err)
	case n > 0:
		q.reject(d, n, pb.ReasonExpired, fmt.Sprint(text))
	}
}
