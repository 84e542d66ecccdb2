//go:build broken_uncounted

package schedule

const (
	brokenArrival   = false
	brokenUncounted = true
)
