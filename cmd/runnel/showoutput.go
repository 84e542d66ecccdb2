package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/runnel-io/runnel/service/lines"
)

// show prints the output of one run: its bytes, each stream to its own, or its
// records.
type show struct {
	app    *app
	out    *streams
	asJSON bool
	raw    bool // nothing but what the run printed
	open   bool // the last text had no newline
	buffer []byte
}

func newShow(a *app, asJSON, raw bool) *show {
	return &show{app: a, out: newStreams(a.stdio.out, a.stdio.err), asJSON: asJSON, raw: raw}
}

var newline = []byte{'\n'}

// record prints one record.
func (s *show) record(r lines.Record) error {
	if s.asJSON {
		s.buffer = lines.AppendJSON(s.buffer[:0], r)
		return s.out.write(lines.Stdout, s.buffer)
	}
	switch {
	case r.End != nil:
		return nil
	case r.Gap != nil:
		return s.out.write(lines.Stderr, fmt.Appendf(nil, "runnel: %s\n", gapText(r.Gap)))
	case r.Open:
		s.open = true
		return s.out.write(r.Stream, r.Text)
	}
	s.open = false
	return s.out.write(r.Stream, r.Text, newline)
}

func gapText(g *lines.Gap) string {
	if g.Lines == 1 {
		return fmt.Sprintf("1 line (%s) of output was dropped here", size(g.Bytes))
	}
	return fmt.Sprintf("%s lines (%s) of output were dropped here", humanize.Comma(g.Lines), size(g.Bytes))
}

// flush prints what is left. On a terminal, what comes next begins on a line of
// its own.
func (s *show) flush() error {
	var err error
	if s.open && !s.raw && !s.asJSON && s.app.look.terminal {
		err = s.out.write(lines.Stdout, newline)
	}
	return errors.Join(err, s.out.flush())
}
