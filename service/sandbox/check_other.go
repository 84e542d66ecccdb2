//go:build !unix

package sandbox

import "github.com/runnel-io/runnel/service/limits"

// Check refuses.
func (h *Host) Check(limits.Set, Isolation) error { return errRefused }

// Holds says no.
func (h *Host) Holds(string) bool { return false }
