package service

import (
	"context"

	"github.com/runnel-io/runnel/pb"
)

func (s *Service) query(r *Request) {
	var req pb.QueryRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	reply, err := s.store.Query(r.Context, req.GetSpec().GetQuery())
	if err == nil && s.markLost(r.Context, reply.GetRuns()) {
		// Some of them ended by our looking: ask again what matches now.
		reply, err = s.store.Query(r.Context, req.GetSpec().GetQuery())
	}
	if err != nil {
		r.Fail(err)
		return
	}
	reply.Service = s.status()
	r.Respond(reply)
}

// markLost ends the runs among these whose runner is gone, and says whether
// there were any.
func (s *Service) markLost(ctx context.Context, runs []*pb.Run) (any bool) {
	lost, err := s.store.FindLost(ctx, runs)
	if err != nil {
		s.log.Warn("cannot tell which runners are gone", "error", err)
		return false
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
