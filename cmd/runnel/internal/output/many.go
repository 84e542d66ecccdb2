package output

import (
	"bytes"
	"fmt"

	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/lines"
)

// Many prints the output of many runs. Text is printed in whole lines, so
// that a line is one runner's. Its methods are called one at a time.
type Many struct {
	*Printer
	Width int                   // of the longest name
	rests map[string]*[2][]byte // by runner and stream: a line that has no end yet
	err   error
	// failed is told that nothing more can be printed.
	failed func(error)
}

// NewMany prints with what prints one; failed is told when nothing more can be.
func NewMany(one *Printer, failed func(error)) *Many {
	return &Many{Printer: one, rests: map[string]*[2][]byte{}, failed: failed}
}

// maxRest bounds a line that has no end: what is above goes out as one.
const maxRest = 1 << 20

// Record prints one record of a runner.
func (s *Many) Record(runner string, r lines.Record) {
	switch {
	case s.err != nil:
	case s.asJSON:
		// The wire's record does not say whose it is: its subject does.
		s.buffer = lines.AppendJSON(s.buffer[:0], r)
		s.write(lines.Stdout, fmt.Appendf(nil, `{"runner":%q,`, runner), s.buffer[1:])
	case r.End != nil:
	case r.Gap != nil:
		s.line(runner, lines.Stderr, []byte("runnel: "+GapText(r.Gap)))
	case s.raw && r.Open:
		s.write(r.Stream, r.Text)
	case s.raw:
		s.write(r.Stream, r.Text, newline)
	default:
		s.text(runner, r)
	}
}

func (s *Many) text(runner string, r lines.Record) {
	rest := s.rests[runner]
	if rest == nil {
		rest = new([2][]byte)
		s.rests[runner] = rest
	}
	held := &rest[r.Stream]
	if r.Open && len(*held) < maxRest {
		*held = append(*held, r.Text...)
		return
	}
	s.line(runner, r.Stream, *held, r.Text)
	*held = (*held)[:0]
}

// End prints what a runner has left unfinished.
func (s *Many) End(runner string) {
	rest := s.rests[runner]
	if rest == nil {
		return
	}
	delete(s.rests, runner)
	for stream, held := range rest {
		if len(held) > 0 {
			s.line(runner, lines.Stream(stream), held)
		}
	}
}

func (s *Many) line(runner string, stream lines.Stream, parts ...[]byte) {
	look := s.app.Look
	if stream == lines.Stderr {
		look = s.app.ErrLook
	}
	if look.Terminal {
		parts = [][]byte{term.Line(bytes.Join(parts, nil))}
	}
	prefix := fmt.Appendf(nil, "%-*s  ", s.Width, runner)
	s.write(stream, append(append([][]byte{prefix}, parts...), newline)...)
}

func (s *Many) write(stream lines.Stream, parts ...[]byte) {
	if err := s.out.Write(stream, parts...); err != nil && s.err == nil {
		s.err = err
		s.failed(err)
	}
}

// Flush prints what is left, and tells what went wrong first.
func (s *Many) Flush() error {
	if err := s.out.Flush(); s.err == nil {
		s.err = err
	}
	return s.err
}
