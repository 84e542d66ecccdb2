package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/service/kv"
)

// IDs returns the ids of the runs that begin so, whatever the case of letters.
// It is a scan, for people who type.
func (s *Store) IDs(ctx context.Context, beginning string) ([]string, error) {
	found := make(map[string]bool)
	err := s.runs.Scan(ctx, 0, func(e kv.Entry) {
		if len(e.Key) >= len(beginning) && strings.EqualFold(e.Key[:len(beginning)], beginning) {
			found[e.Key] = e.Body != nil
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for run %s: %w", beginning, err)
	}
	var ids []string
	for id, there := range found {
		if there {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
