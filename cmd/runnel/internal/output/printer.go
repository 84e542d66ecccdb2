// Package output prints what runs print: that of one run as it is, or that of many
// in whole lines, each with its runner in front.
package output

import (
	"errors"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
)

// Printer prints the output of one run: its bytes, each stream to its own, or its
// records.
type Printer struct {
	app    *app.App
	out    *term.Streams
	asJSON bool
	raw    bool // nothing but what the run printed
	open   bool // the last text had no newline
	buffer []byte
}

// NewPrinter prints text, or records as JSON; raw prints nothing else.
func NewPrinter(a *app.App, asJSON, raw bool) *Printer {
	return &Printer{app: a, out: term.NewStreams(a.Stdio.Out, a.Stdio.Err), asJSON: asJSON, raw: raw}
}

// Redirect prints both streams to one writer, and nothing but what the run printed.
func (s *Printer) Redirect(w io.Writer) { s.out, s.raw = term.NewStreams(w, w), true }

var newline = []byte{'\n'}

// Record prints one record.
func (s *Printer) Record(r lines.Record) error {
	if s.asJSON {
		s.buffer = lines.AppendJSON(s.buffer[:0], r)
		return s.out.Write(lines.Stdout, s.buffer)
	}
	switch {
	case r.End != nil:
		return nil
	case r.Gap != nil:
		return s.out.Write(lines.Stderr, fmt.Appendf(nil, "runnel: %s\n", GapText(r.Gap)))
	case r.Open:
		s.open = true
		return s.out.Write(r.Stream, r.Text)
	}
	s.open = false
	return s.out.Write(r.Stream, r.Text, newline)
}

// Started prints the run itself, where records are printed: whose they are.
func (s *Printer) Started(run *pb.Run) error {
	if !s.asJSON {
		return nil
	}
	text, err := pb.MarshalJSON(run)
	if err != nil {
		return err
	}
	return s.out.Write(lines.Stdout, []byte(`{"run":`), text, []byte("}\n"))
}

// GapText says how much output is missing.
func GapText(g *lines.Gap) string {
	if g.Lines == 1 {
		return fmt.Sprintf("1 line (%s) of output was dropped here", term.Size(g.Bytes))
	}
	return fmt.Sprintf("%s lines (%s) of output were dropped here", humanize.Comma(g.Lines), term.Size(g.Bytes))
}

// Flush prints what is left. On a terminal, what comes next begins on a line of
// its own.
func (s *Printer) Flush() error {
	var err error
	if s.open && !s.raw && !s.asJSON && s.app.Look.Terminal {
		err = s.out.Write(lines.Stdout, newline)
	}
	return errors.Join(err, s.out.Flush())
}
