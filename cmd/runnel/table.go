package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// columns is a table without lines: headings in capitals, columns two spaces
// apart, as of the tools that a shell's user knows.
type columns struct {
	look   look
	writer table.Writer
	count  int
}

func newColumns(l look, headings ...string) *columns {
	c := &columns{look: l, writer: table.NewWriter(), count: len(headings)}
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	c.writer.SetStyle(style)
	header := make(table.Row, len(headings))
	for i, heading := range headings {
		header[i] = heading
	}
	c.writer.AppendHeader(header)
	return c
}

// painted is a cell in colour.
type painted struct {
	colour colour
	text   string
}

// add adds a row of strings and painted cells. Those that are missing at its
// end stay empty.
func (c *columns) add(cells ...any) {
	r := make(table.Row, c.count)
	for i := range r {
		r[i] = ""
		if i >= len(cells) {
			continue
		}
		switch cell := cells[i].(type) {
		case painted:
			r[i] = c.look.paint(cell.colour, printable(cell.text))
		default:
			r[i] = printable(fmt.Sprint(cell))
		}
	}
	c.writer.AppendRow(r)
}

// write writes the table. On a terminal, rows are cut to its width; a pipe gets
// all of them.
func (c *columns) write(w io.Writer) error {
	for line := range strings.Lines(c.writer.Render()) {
		line = strings.TrimRight(line, " \n")
		if c.look.terminal {
			line = text.Snip(line, c.look.width, "…")
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// printable keeps what a stranger wrote, such as the name of a run, from moving
// the cursor, colouring the screen or breaking the row.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return '\uFFFD'
		}
		return r
	}, s)
}
