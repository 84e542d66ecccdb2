//go:build !unix

package sandbox

// Check refuses.
func (h *Host) Check(Limits, Isolation) error { return errRefused }
