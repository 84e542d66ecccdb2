package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
)

// pending is the attempt that work waits for as a run that has not begun. last is
// the attempt before it, if there was one.
func (w Work) pending(attempt int, last *pb.Run) *pb.Run {
	run := &pb.Run{
		Id: pb.AttemptID(w.ID, attempt), Group: w.ID, Attempt: int32(attempt), State: pb.State_PENDING, Created: timestamppb.New(w.Accepted),
		Queued: &pb.Queued{Pool: w.Pool, Priority: w.Priority, Seq: int64(w.Seq), Accepted: timestamppb.New(w.Accepted)},
	}
	req, err := w.Request()
	if err != nil {
		run.Error = err.Error() // whoever takes it will say so
		return run
	}
	task := req.GetSpec().GetTask()
	run.Name, run.Tags = task.GetName(), task.GetTags()
	if run.Name == "" {
		run.Name = req.GetMetadata().GetName()
	}
	run.Digest, _ = req.Digest() // it was just read
	run.Traceparent = w.Traceparent
	run.Queued.Key, run.Queued.KeyMax = task.GetConcurrency().GetKey(), task.GetConcurrency().GetMax()
	retries, err := task.RetryTerms()
	if err == nil && retries.Max > 0 {
		run.Queued.Retries, run.Queued.On = int32(retries.Max), retries.On
		if retries.Backoff > 0 {
			run.Queued.Backoff = retries.Backoff.String()
		}
	}
	if until := w.Begin(task); last != nil {
		run.Queued.Until = timestamppb.New(last.GetEnded().AsTime().Add(retries.Wait(attempt)))
	} else if until.After(w.Accepted) {
		run.Queued.Until = timestamppb.New(until)
	}
	return run
}

// Begin is when a first attempt of its task may start.
func (w Work) Begin(task *pb.Task) time.Time {
	delay, _ := pb.Duration("", task.GetDelay(), 0) // it was validated
	begin := w.Accepted.Add(delay)
	if t := task.GetNotBefore(); t != nil && t.AsTime().After(begin) {
		begin = t.AsTime()
	}
	return begin
}

// TooLate says why work has expired, if it has.
func (w Work) TooLate(task *pb.Task, now time.Time) string {
	expires, _ := pb.Duration("", task.GetExpires(), 0) // it was validated
	if expires <= 0 || now.Sub(w.Accepted) <= expires {
		return ""
	}
	return "waited in the queue for more than " + expires.String()
}

// Waiting returns the attempt that work waits for. Error: ErrNotWaiting, with the
// last attempt, if there is one. Work that has expired gets its record by that.
func (q *Queue) Waiting(ctx context.Context, id string) (*pb.Run, Work, error) {
	w, err := q.Get(ctx, id)
	if err != nil {
		return nil, w, err
	}
	last, n, err := q.chain(ctx, w)
	if err != nil || n == 0 {
		return last, w, errors.Join(err, ErrNotWaiting)
	}
	run := w.pending(n, last)
	if expired, err := q.expire(ctx, w, run); err != nil || expired {
		return run, w, errors.Join(err, ErrNotWaiting)
	}
	return run, w, nil
}

// chain follows the attempts of a message: the last, and the number of the one
// that is to come, 0 if none is.
func (q *Queue) chain(ctx context.Context, w Work) (last *pb.Run, next int, err error) {
	for n := w.Attempt; ; n++ {
		run, _, err := q.cfg.Store.Get(ctx, pb.AttemptID(w.ID, n))
		switch {
		case errors.Is(err, store.ErrUnknownRun):
			return last, n, nil
		case err != nil:
			return last, 0, err
		case !store.Final(run.GetState()), run.GetNext() == "":
			return run, 0, nil
		}
		last = run
	}
}

// Each calls each with what waits, oldest first, until it says no. What runs is
// left out, and what has expired gets its record.
func (q *Queue) Each(ctx context.Context, pool string, each func(*pb.Run, Work) (more bool)) error {
	return q.EachFrom(ctx, pool, 1, each)
}

// EachFrom is Each from a sequence of the stream on.
func (q *Queue) EachFrom(ctx context.Context, pool string, seq uint64, each func(*pb.Run, Work) (more bool)) error {
	if pool == "" {
		pool = "*"
	}
	if err := q.Find(ctx); err != nil {
		return err
	}
	for {
		m, err := q.stream.NextDirect(ctx, q.cfg.Space.Work(pool, "*", "*"), seq)
		if errors.Is(err, stream.ErrNoMessage) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the queue: %w", err)
		}
		seq = m.Seq + 1
		w, ok := q.Stored(m)
		if !ok {
			continue
		}
		last, n, err := q.chain(ctx, w)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		run := w.pending(n, last)
		if expired, err := q.expire(ctx, w, run); err != nil {
			return err
		} else if !expired && !each(run, w) {
			return nil
		}
	}
}

// expireTime bounds the write of a record that somebody who lists may not be
// allowed.
const expireTime = 2 * time.Second

// expireRest is how long a list that could not write a record leaves that to
// runners: who may not write would wait at each piece of work.
const expireRest = time.Minute

// expire ends work that has waited for too long, as the runner that takes it would,
// and makes run the record of that. Who may not write it is told in run why it waits.
func (q *Queue) expire(ctx context.Context, w Work, run *pb.Run) (expired bool, err error) {
	req, err := w.Request()
	if err != nil || req.GetSpec().GetTask().GetExpires() == "" {
		return false, nil
	}
	now, err := q.cfg.Store.ServerTime(ctx)
	if err != nil {
		return false, err
	}
	text := w.TooLate(req.GetSpec().GetTask(), now)
	if text == "" {
		return false, nil
	}
	run.Queued.Waits, run.Queued.Why = WaitsExpired, text+"; it is recorded as expired when a runner takes it"
	if time.Now().UnixNano() < q.expireAgain.Load() {
		return false, nil
	}
	ended := q.ended(run, ending{pb.State_FAILED, pb.ReasonExpired, text})
	limited, cancel := context.WithTimeout(ctx, expireTime)
	defer cancel()
	switch _, err := q.cfg.Store.Create(limited, ended); {
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrRemoved):
		return true, nil // somebody was quicker
	case err != nil:
		q.expireAgain.Store(time.Now().Add(expireRest).UnixNano())
		return false, ctx.Err()
	}
	proto.Reset(run)
	proto.Merge(run, ended)
	return true, q.Remove(ctx, w.Seq)
}

// ending is how work ends that no runner has taken.
type ending struct {
	state        pb.State
	reason, text string
}

// ended is the record of an attempt that never starts.
func (q *Queue) ended(run *pb.Run, e ending) *pb.Run {
	run = proto.CloneOf(run)
	run.State, run.Reason, run.Error = e.state, e.reason, e.text
	run.Ended = timestamppb.Now()
	run.LogStream, run.LogSubject = q.cfg.Space.LogStream(), q.cfg.Space.Log(noRunner, run.GetId())
	run.Queued.Waits, run.Queued.Why, run.Queued.Until = "", "", nil
	return run
}
