//go:build !unix

package sandbox

// HasAccount says yes: the start of the run tells.
func HasAccount(string) bool { return true }
