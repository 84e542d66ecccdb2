package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// IDs returns the ids of the runs that begin so, whatever the case of letters.
// It is a scan, for people who type.
func (s *Store) IDs(ctx context.Context, beginning string) ([]string, error) {
	found := make(map[string]bool)
	err := s.runs.scan(ctx, 0, func(e entry) {
		if len(e.key) >= len(beginning) && strings.EqualFold(e.key[:len(beginning)], beginning) {
			found[e.key] = e.body != nil
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
