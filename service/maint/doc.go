// Package maint looks after this machine's clock: it compares the clock with a
// base time and, when asked and allowed, sets it by NTP and proves the result.
//
// One Keeper serves one machine. Keeper.Maint does everything in one pass:
//
//	local time ──► diff       the caller's base time − local time, in ms
//	     │
//	servers ──► reading       all asked at once; what can't be trusted is thrown
//	     │                    away, then the nearest by root distance is believed
//	     ├─ a time daemon runs ──► left to it, its work is only judged
//	     ├─ step above 100 ms, slew below
//	     └─ servers again ──► status 0 only if a second reading says so
//
// Everywhere a positive number means that this host is behind. A base time in
// whole seconds stands for the second it names, [t, t+1s), since that is all
// the caller knew: inside it the difference is 0.
//
// LocalNanos in a reply is this host's wall clock when the difference was
// taken, in Unix nanoseconds: for a base time from the caller that is on
// arrival, before anything else is done, so whoever asks many hosts with one
// base can set each answer against the time its own request was on the way;
// with ntp it is when the believed answer came in. It is never touched by the
// setting that may follow.
//
// A trusted answer is what RFC 5905 and Response.Validate call valid, and also:
// sent to this very question, of the version asked, with a root distance below
// a second, not held by the server for longer than we waited, and taken while
// nobody set our own clock. When more than half of the answers agree, an answer
// that they contradict is out however good it says it is.
//
// Nothing here starts a process, and the only pause is the one that keeps a
// second question to an NTP server two seconds away from one that failed.
package maint
