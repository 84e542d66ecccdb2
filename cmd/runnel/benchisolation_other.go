//go:build !linux

package main

import "context"

// measureIsolation has nothing to measure: only Linux isolates.
func (b *benchCommand) measureIsolation(context.Context) ([]benchRow, error) { return nil, nil }
