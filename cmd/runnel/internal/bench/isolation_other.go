//go:build !linux

package bench

import "context"

// measureIsolation has nothing to measure: only Linux isolates.
func (b *command) measureIsolation(context.Context) ([]row, error) { return nil, nil }
