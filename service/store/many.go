package store

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
)

// getRuns reads runs in the order given. The first that is unknown is an error.
func (s *Store) getRuns(ctx context.Context, ids []string) ([]kv.Entry, error) {
	if len(ids) == 1 || !s.runs.Direct() {
		found := make([]kv.Entry, 0, len(ids))
		for _, id := range ids {
			e, err := s.getRun(ctx, id)
			if err != nil {
				return nil, err
			}
			found = append(found, e)
		}
		return found, nil
	}
	for _, id := range ids {
		if subjects.RunID(id) != nil {
			return nil, unknown(id)
		}
	}
	have, err := s.runs.GetMany(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("cannot read runs: %w", err)
	}
	found := make([]kv.Entry, 0, len(ids))
	for _, id := range ids {
		e, ok := have[id]
		if !ok { // perhaps not on that replica yet
			if e, err = s.getRun(ctx, id); err != nil {
				return nil, err
			}
		}
		found = append(found, e)
	}
	return found, nil
}
