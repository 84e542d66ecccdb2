//go:build broken_arrival

package schedule

const (
	brokenArrival   = true
	brokenUncounted = false
)
