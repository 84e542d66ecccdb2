package lines

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// Stream is one of the two outputs of a process.
type Stream uint8

const (
	Stdout Stream = iota
	Stderr
)

// String returns the name of the stream on the wire.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// A Record is one piece of output, or a mark in it (Gap, End).
type Record struct {
	Pos       int64 // number of the line in the run, from 1, over both streams
	TimeNanos int64 // when it was read, in nanoseconds of Unix time, by the runner's clock
	Stream    Stream
	Step      string // of the run that printed it, such as compile; empty: the run itself
	Text      []byte // the bytes, without the newline
	Open      bool   // BOL: no newline follows
	Gap       *Gap   // lines were dropped here; there is no text
	End       *End   // the last record; there is no text
}

// A Head tells where in the log a message stands.
type Head struct {
	Pos   int64    // number of the line that its first record belongs to; 0: not known
	Bytes [2]int64 // of each stream, stored before it, newlines included

	next int64 // number of the next new line before it; a Cutter's own Heads have this
	all  int64 // bytes before it, dropped ones included; likewise
}

// A Gap counts output that was dropped.
type Gap struct {
	Lines int64
	Bytes int64 // newlines included
}

// End says how a run ended. Lines, Bytes, SHA256 and Dropped are the Cutter's to fill; they are over what is stored.
type End struct {
	State    string // name of the run's final state, such as COMPLETE
	Reason   string
	ExitCode int32
	Signal   string
	Error    string

	Lines   int64
	Bytes   int64
	SHA256  string // hex
	Dropped Gap    // all gaps together
}

// Totals is what a run's output adds up to.
type Totals struct {
	Lines   int64 // lines stored
	Bytes   int64 // bytes stored, newlines included
	SHA256  string
	Dropped Gap
}

// maxErrorBytes bounds what an EOF record says of an error, so that it fits the smallest message; the run's record has
// all of it.
const maxErrorBytes = 384

// AppendJSON appends a record as one line of JSON, newline included, in the form that has one record a line.
func AppendJSON(dst []byte, r Record) []byte {
	dst = appendHead(dst, r.Pos, appendStep(appendStamp(nil, r.TimeNanos), r.Step))
	switch {
	case r.End != nil:
		return append(appendEnd(dst, r.End), "}\n"...)
	case r.Gap != nil:
		dst = append(dst, `,"tag":"GAP"`...)
		return append(appendCounts(dst, *r.Gap), "}\n"...)
	}
	return append(appendPiece(dst, r.Stream, r.Text, r.Open), "}\n"...)
}

// appendStamp formats the time of a read once for all its records.
func appendStamp(dst []byte, nanos int64) []byte {
	dst = append(dst, `,"time":"`...)
	dst = strconv.AppendInt(dst, nanos, 10)
	return append(dst, '"')
}

func appendStep(dst []byte, step string) []byte {
	if step == "" {
		return dst
	}
	return appendField(dst, "step", step)
}

func appendHead(dst []byte, pos int64, stamp []byte) []byte {
	dst = append(dst, `{"pos":`...)
	dst = strconv.AppendInt(dst, pos, 10)
	return append(dst, stamp...)
}

func appendPiece(dst []byte, s Stream, text []byte, open bool) []byte {
	if s == Stderr {
		dst = append(dst, `,"stream":"stderr"`...)
	}
	if open {
		dst = append(dst, `,"tag":"BOL"`...)
	}
	dst = append(dst, `,"message":"`...)
	if utf8.Valid(text) {
		return append(appendEscaped(dst, text), '"')
	}
	dst = appendReplaced(dst, text)
	dst = append(dst, `","raw":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, text)
	return append(dst, '"')
}

func appendCounts(dst []byte, g Gap) []byte {
	dst = append(dst, `,"lines":`...)
	dst = strconv.AppendInt(dst, g.Lines, 10)
	dst = append(dst, `,"bytes":`...)
	return strconv.AppendInt(dst, g.Bytes, 10)
}

func appendEnd(dst []byte, e *End) []byte {
	dst = append(dst, `,"tag":"EOF"`...)
	dst = appendField(dst, "state", e.State)
	if e.Reason != "" {
		dst = appendField(dst, "reason", e.Reason)
	}
	dst = append(dst, `,"exitCode":`...)
	dst = strconv.AppendInt(dst, int64(e.ExitCode), 10)
	if e.Signal != "" {
		dst = appendField(dst, "signal", e.Signal)
	}
	if e.Error != "" {
		dst = appendField(dst, "error", e.Error)
	}
	dst = appendCounts(dst, Gap{Lines: e.Lines, Bytes: e.Bytes})
	dst = appendField(dst, "sha256", e.SHA256)
	if e.Dropped != (Gap{}) {
		dst = append(dst, `,"dropped":`...)
		dst = strconv.AppendInt(dst, e.Dropped.Lines, 10)
		dst = append(dst, `,"droppedBytes":`...)
		dst = strconv.AppendInt(dst, e.Dropped.Bytes, 10)
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":"`...)
	dst = appendReplaced(dst, []byte(value))
	return append(dst, '"')
}
