//go:build broken_noclaim

package queue

const (
	brokenEarlyAck = false
	brokenCounted  = false
	brokenNoClaim  = true
)
