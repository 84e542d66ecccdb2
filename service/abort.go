package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/work"
	"github.com/runnel-io/runnel/subjects"
)

// abortTries bounds how many attempts of one piece of work may follow each other
// while it is aborted.
const abortTries = 20

// abort ends a run that is here, and forwards to its owner one that is not. Of work
// of the queue it ends the attempt that is next when one ends by itself meanwhile.
func (s *Service) abort(ctx context.Context, r *endpoint.Request, req *pb.AbortRequest) (*pb.AbortReply, error) {
	abort := req.GetSpec().GetAbort()
	r.Run = abort.GetRun()
	wait, err := abort.WaitTime()
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		abort.Run = r.Run
		found, err := s.abortNow(ctx, r, req, wait)
		if err != nil {
			return nil, err
		}
		if found.GetNext() == "" || found.GetGroup() != r.Run || try == abortTries {
			return &pb.AbortReply{Run: found, Service: s.status()}, nil
		}
	}
}

func (s *Service) abortNow(ctx context.Context, r *endpoint.Request, req *pb.AbortRequest, wait time.Duration) (*pb.Run, error) {
	abort := req.GetSpec().GetAbort()
	by := subjects.User(r.Header(subjects.HeaderUser))
	found, err := s.runner.Abort(ctx, abort.GetRun(), wait, by)
	if whole, wholeErr := s.wholeToAbort(ctx, abort.GetRun(), found, err); wholeErr == nil && whole != nil {
		if store.Final(whole.GetState()) {
			return whole, nil
		}
		abort.Run = whole.GetId()
		found, err = s.runner.Abort(ctx, abort.GetRun(), wait, by)
	}
	if errors.Is(err, run.ErrNotHere) && r.Scope.IsAny() {
		return s.abortElsewhere(ctx, by, found, req)
	}
	return found, err
}

// abortElsewhere asks the owner, for whom by names; an owner that is gone has lost
// the run.
func (s *Service) abortElsewhere(ctx context.Context, by string, owned *pb.Run, req *pb.AbortRequest) (*pb.Run, error) {
	wait, err := req.GetSpec().GetAbort().WaitTime()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait+2*time.Second)
	defer cancel()
	body, err := pb.MarshalJSON(req)
	if err != nil {
		return nil, err
	}
	ask := &nats.Msg{Subject: s.space.Request(subjects.Abort, subjects.At(owned.GetRunner())), Data: body}
	if by != "" {
		ask.Header = nats.Header{subjects.HeaderUser: {by}}
	}
	msg, err := s.conns.nc.RequestMsgWithContext(ctx, ask)
	switch {
	case err == nil && msg.Header.Get(micro.ErrorCodeHeader) == "":
		var reply pb.AbortReply
		if err := pb.UnmarshalRecord(msg.Data, &reply); err != nil {
			return nil, err
		}
		return reply.GetRun(), nil
	case err == nil:
		if ended, _, err := s.store.Get(ctx, owned.GetId()); err == nil && store.Final(ended.GetState()) {
			return ended, nil // by itself, and another attempt follows elsewhere
		}
		code, _ := strconv.Atoi(msg.Header.Get(micro.ErrorCodeHeader)) // the owner's own
		return nil, endpoint.Coded(cmp.Or(code, endpoint.CodeInternal), fmt.Errorf("cannot abort run %s on %s: %s", owned.GetId(), owned.GetRunner(), msg.Header.Get(micro.ErrorHeader)))
	case !errors.Is(err, nats.ErrNoResponders) && ctx.Err() == nil:
		return nil, fmt.Errorf("cannot abort run %s on %s: %w", owned.GetId(), owned.GetRunner(), err)
	}
	s.presence.MarkLost(s.life.ctx, []*pb.Run{owned})
	current, _, err := s.store.Get(s.life.ctx, owned.GetId())
	if err == nil && !store.Final(current.GetState()) {
		return nil, endpoint.Coded(endpoint.CodeFull, fmt.Errorf("cannot abort run %s: its runner %s does not answer; it is marked lost when that has been offline for %s", owned.GetId(), owned.GetRunner(), s.cfg.LostAfter))
	}
	return current, err
}

// wholeToAbort is what an abort of queued work is about, where that is not the run
// of its id: the attempt that runs now, or the record of the one that will never
// start. Nil: it is the run of that id.
func (s *Service) wholeToAbort(ctx context.Context, id string, found *pb.Run, err error) (*pb.Run, error) {
	if err != nil && !errors.Is(err, store.ErrUnknownRun) || err == nil && (found.GetQueued() == nil || !store.Final(found.GetState()) || found.GetId() != found.GetGroup()) {
		return nil, nil
	}
	unknown := err != nil
	whole, err := s.waiting.work.Whole(ctx, id)
	if err != nil || !unknown && whole.GetId() == id && !work.IsWaiting(whole) {
		return nil, err
	}
	if !work.IsWaiting(whole) {
		return whole, nil
	}
	removed, err := s.waiting.work.Withdraw(ctx, whole.GetGroup(), "removed from the queue")
	if errors.Is(err, work.ErrNotWaiting) && removed != nil {
		return removed, nil // it has started meanwhile
	}
	return removed, err
}
