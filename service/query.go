package service

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/store"
)

// query answers with what matches now. Whoever asks finds out that a runner is
// gone: its runs end by being asked about, and what matches is looked up again.
func (s *Service) query(ctx context.Context, _ *endpoint.Request, req *pb.QueryRequest) (*pb.QueryReply, error) {
	q := req.GetSpec().GetQuery()
	now := proto.CloneOf(q)
	now.Wait = ""
	reply, err := s.find(ctx, now)
	if err == nil && s.markLostFor(ctx, q, reply.GetRuns()) {
		reply, err = s.find(ctx, now)
	}
	if err == nil && len(reply.GetRuns()) == 0 && q.GetWait() != "" {
		reply, err = s.find(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	reply.Service = s.status()
	return reply, nil
}

// find finds runs. A listed one that has no record, since it waits in the queue, is
// PENDING.
func (s *Service) find(ctx context.Context, q *pb.Query) (*pb.QueryReply, error) {
	reply, err := s.store.Query(ctx, q)
	if q.GetAll() || !errors.Is(err, store.ErrUnknownRun) {
		return reply, err
	}
	waiting, err := s.waiting.work.WaitingAmong(ctx, q.GetRuns())
	if err != nil {
		return nil, err
	}
	return s.store.QueryWith(ctx, q, waiting)
}

// markLostFor ends the runs that a query is about and whose runner is gone, and
// says whether there were any. A query for final runs is about live ones, too:
// those that should be final by now.
func (s *Service) markLostFor(ctx context.Context, q *pb.Query, found []*pb.Run) bool {
	switch {
	case len(found) > 0 || len(q.GetStates()) == 0:
	case q.GetAll():
		return s.presence.MarkLostOfDead(ctx)
	default:
		reply, err := s.find(ctx, &pb.Query{Runs: q.GetRuns(), Limit: int64(len(q.GetRuns()))})
		if err != nil {
			return false
		}
		found = reply.GetRuns()
	}
	any := s.presence.MarkLost(ctx, found)
	if q.GetAll() && !asksForLive(q) {
		any = s.presence.MarkLostOfDead(ctx) || any
	}
	return any
}

func asksForLive(q *pb.Query) bool {
	return len(q.GetStates()) == 0 || slices.Contains(q.GetStates(), pb.State_RUNNING) && slices.Contains(q.GetStates(), pb.State_PENDING)
}
