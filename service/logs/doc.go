// Package logs keeps the output of runs in JetStream and reads it back: every record once, in order, none missing.
//
// All runs share one stream; a run has a subject of its own in it. What the messages hold is the business of package
// lines; here they are bodies with a number, the header Runner-Seq: 1, 2, 3 … in the run.
//
// # Writing
//
// A [Writer] has one message of its run in flight. Each is published on condition that the run's last message is the one
// before it (Nats-Expected-Last-Subject-Sequence). When no ack comes, the same message is published again on the same condition,
// so it can't be stored twice; and when the server says that the condition doesn't hold, the run's last message tells whether
// ours had been stored after all, or whether somebody else has closed the log: then the writer is fenced off ([ErrFenced])
// and writes no more. So what is stored is right by itself, and any client reads it.
//
// What the process prints meanwhile is encoded into the next message, while the one before waits for its ack; those two are
// all that is in memory. When no ack has come for a second, messages go to a spool file, up to a limit, and from there to
// the stream, in order, when it is back. Past the limit the process waits, or its output is dropped and a GAP record says so.
// The spool survives the runner: [Resume] sends what it holds and closes the log.
//
// # Reading
//
// [Follow] is the one reader. For a run that was just asked for it reads a plain subscription, which costs nothing, and turns to
// a consumer on the stream when Runner-Seq shows a hole, after a reconnect, and for everything that is past. It ends at the
// EOF record, or when the run's record says that the run is over, and tells whether anything is missing.
package logs
