//go:build unix

package sandbox

import "time"

// quietAfter is how long nothing must come before quiet is called.
const quietAfter = 200 * time.Millisecond

// Sizes in bytes. A buffer of the biggest size from the start would triple what a short run takes at the 99th percentile.
const (
	minBuffer      = 4 << 10
	maxBuffer      = 256 << 10
	pipeBytes      = 64 << 10 // Linux's default
	floodPipeBytes = 1 << 20
)
