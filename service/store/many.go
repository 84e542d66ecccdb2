package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
)

// getRuns reads runs in the order given. The first that is unknown, and not among
// those that wait, is an error.
func (s *Store) getRuns(ctx context.Context, ids []string, waiting map[string]kv.Entry) ([]kv.Entry, error) {
	one := func(id string) (kv.Entry, error) {
		e, err := s.getRun(ctx, id)
		if waits, ok := waiting[id]; ok && errors.Is(err, ErrUnknownRun) {
			return waits, nil
		}
		return e, err
	}
	if len(ids) == 1 || !s.runs.Direct() {
		found := make([]kv.Entry, 0, len(ids))
		for _, id := range ids {
			e, err := one(id)
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
			if e, err = one(id); err != nil {
				return nil, err
			}
		}
		found = append(found, e)
	}
	return found, nil
}
