//go:build !unix

package sandbox

// Chown refuses.
func Chown(string, ...string) error { return &StartError{Op: "change an owner", Err: errRefused} }
