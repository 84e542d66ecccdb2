//go:build broken_counted

package queue

const (
	brokenEarlyAck = false
	brokenCounted  = true
	brokenNoClaim  = false
)
