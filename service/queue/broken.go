//go:build !broken_earlyack && !broken_counted && !broken_noclaim

package queue

// Each is true in a build that is broken on purpose: work is acknowledged before
// it starts; an attempt's number is how often its message was delivered; whoever is
// given a message starts it. tests/queue-must-fail shows that the chaos test finds
// them.
const (
	brokenEarlyAck = false
	brokenCounted  = false
	brokenNoClaim  = false
)
