package store

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// Live returns the runs of a runner that are not final. It reads every record
// there is, so it is for the runner's start.
func (s *Store) Live(ctx context.Context, runner string) ([]*pb.Run, error) {
	bodies := make(map[string][]byte)
	err := s.runs.Scan(ctx, 0, func(e kv.Entry) {
		delete(bodies, e.Key)
		if p, err := peek(e.Body, traits{}); e.Body != nil && err == nil && !Final(p.state) {
			bodies[e.Key] = e.Body
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the runs of runner %s: %w", runner, err)
	}
	var live []*pb.Run
	for _, body := range bodies {
		run, err := decode(body)
		if err != nil {
			return nil, err
		}
		if run.GetRunner() == runner {
			live = append(live, run)
		}
	}
	return live, nil
}
