package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
)

// Prune removes the final runs that ended first, their output before their
// record, until Config.KeepCount are left, and returns their ids. Their markers
// stay for a minute only: a day's would be more than what is kept. When there is
// nothing to do it costs one request. Any number of runners may prune at once.
func (s *Store) Prune(ctx context.Context) (removed []string, err error) {
	if s.cfg.KeepCount == 0 {
		return nil, nil
	}
	info, err := s.runs.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot prune runs: %w", err)
	}
	if info.State.Msgs <= uint64(s.cfg.KeepCount) {
		return nil, nil
	}
	// A record's last change is its end, so the scan's order is that of the ends.
	var final []string
	if err := s.runs.Scan(ctx, 0, func(e kv.Entry) {
		if e.Body == nil {
			return
		}
		if p, err := record.Peek(e.Body, record.Traits{}); err == nil && Final(p.State) {
			final = append(final, e.Key)
		}
	}); err != nil {
		return nil, fmt.Errorf("cannot prune runs: %w", err)
	}
	for len(final) > s.cfg.KeepCount {
		switch err := s.remove(ctx, final[0], 0); {
		case err == nil:
			removed = append(removed, final[0])
		case !errors.Is(err, ErrUnknownRun) && !errors.Is(err, ErrConflict):
			return removed, err
		}
		final = final[1:]
	}
	return removed, nil
}
