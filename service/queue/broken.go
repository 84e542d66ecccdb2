//go:build !broken_earlyack

package queue

// brokenEarlyAck is true in a build that is broken on purpose: work is
// acknowledged before it starts. tests/chaos-must-fail shows that the chaos test
// finds it.
const brokenEarlyAck = false
