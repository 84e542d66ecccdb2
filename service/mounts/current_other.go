//go:build !linux

package mounts

// Now gives an empty Table: this system doesn't tell.
func Now() (*Table, error) { return Parse("") }

func readlink(string) (target string, ok bool) { return "", false }

// Of gives a Mount that nothing is known of: this system doesn't tell.
func Of(string) (Mount, error) { return Mount{}, nil }

// Resolve gives the path as it is.
func Resolve(path string) (m Mount, real string, err error) { return Mount{}, path, nil }
