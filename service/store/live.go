package store

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
)

// Live returns the runs of a runner that are not final. It reads every record
// there is, so it is for the runner's start.
func (s *Store) Live(ctx context.Context, runner string) ([]*pb.Run, error) {
	bodies := make(map[string][]byte)
	err := s.runs.Scan(ctx, 0, func(e kv.Entry) {
		delete(bodies, e.Key)
		if p, err := record.Peek(e.Body, record.Traits{}); e.Body != nil && err == nil && !Final(p.State) {
			bodies[e.Key] = e.Body
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the runs of runner %s: %w", runner, err)
	}
	var live []*pb.Run
	for _, body := range bodies {
		run, err := record.Decode(body)
		if err != nil {
			return nil, err
		}
		if run.GetRunner() == runner {
			live = append(live, run)
		}
	}
	return live, nil
}

// FindLive is Live that costs as much as there is to find: it trusts the index.
func (s *Store) FindLive(ctx context.Context, runner string) (live []*pb.Run, err error) {
	q := &pb.Query{All: true, Runner: runner, States: []pb.State{pb.State_PENDING, pb.State_RUNNING}, Limit: maxLimit}
	for {
		reply, err := s.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		live = append(live, reply.GetRuns()...)
		if q.Next = reply.GetNext(); q.Next == "" {
			return live, nil
		}
	}
}
