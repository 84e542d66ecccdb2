// Package queue takes work out of the durable queue and has it run here.
//
// # Taking
//
// One goroutine pulls: it asks each of its pools' consumers, the highest priority
// first, for as many messages as there are free slots, and when nothing waits it
// leaves one request on each. Without a free slot, or with all pools paused, it
// has none. What comes and finds no slot goes back at once.
//
// # Attempts
//
// A message is one piece of work until its last attempt is final. Whose turn it
// is, is in the records and nowhere else: each attempt is a run with an id of its
// own, whose claim (package run) lets one runner start it once. A message that is
// delivered again is therefore harmless: its attempts are looked up, and it is
// acknowledged, left to the runner that has it, or given its next attempt. A wait
// between attempts is the server's: a negative acknowledgement with a delay.
//
// # Never two, never none
//
// The acknowledgement comes after the last attempt's record is final. A runner
// that dies in between leaves a message that is delivered again.
package queue
