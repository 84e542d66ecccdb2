//go:build !linux

package glance_test

// children are parts of tests that need another account or another network.
var children map[string]func() int
