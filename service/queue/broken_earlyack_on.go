//go:build broken_earlyack

package queue

const (
	brokenEarlyAck = true
	brokenCounted  = false
	brokenNoClaim  = false
)
