// Package lines is the form in which the output of a run is kept: it cuts two streams of bytes into numbered records
// of bounded width, and puts them together again, byte for byte.
//
// A record is one line of JSON:
//
//	{"pos":1,"time":"1136214245000000000","message":"text"}
//	{"pos":2,"time":"1136214245000000000","stream":"stderr","message":"text"}
//	{"pos":3,"time":"1136214245000000000","messages":["line 3","line 4","line 5"]}
//	{"pos":6,"time":"1136214245000000000","tag":"BOL","message":"a piece after which no newline follows"}
//	{"pos":6,"time":"1136214245000000000","message":"\ufffd","raw":"/w=="}
//	{"pos":7,"time":"1136214245000000000","tag":"GAP","lines":9,"bytes":1024}
//	{"pos":16,"time":"1136214245000000000","tag":"EOF","state":"COMPLETE","exitCode":0,"lines":6,"bytes":99,"sha256":"…"}
//
// The rules, which [Cutter] keeps and [Sum] checks:
//
//   - pos is the number of the line in the run, from 1, counted over both streams. A line takes its number when its first
//     record is made, so that the pieces of two streams can interleave (5 BOL, 6, 5), but a number is never skipped.
//   - The text of a stream is its messages joined, with a newline after each record that is not a BOL. Both "cut because
//     it is long" and "the output ended without a newline" are BOL.
//   - Plain lines of one stream that were read together share a record, "messages". A line that is alone, cut, unfinished
//     or not UTF-8 has a record of its own.
//   - Where bytes are not UTF-8, message has U+FFFD, one a byte, and raw holds the record's bytes.
//   - A GAP stands for lines that were dropped; it takes their numbers and adds nothing to the text.
//   - EOF comes last. Its lines, bytes and sha256 are over what is stored, in record order, newlines included.
//
// A message on the wire is a body: one or more whole records. The Cutter holds at most one body that is being filled (and one
// that is full): who feeds it takes bodies with [Cutter.Next] whenever the one before is delivered, so that a quiet task has
// one line a message without delay, and a flood packs itself.
//
// The package knows nothing of NATS, files, processes or clocks: times are given to it.
package lines
