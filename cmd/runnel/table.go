package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// columns is a table without lines: headings in capitals, columns two spaces
// apart, as of the tools that a shell's user knows.
type columns struct {
	look     look
	headings []string
	rows     [][]painted
	right    []string
	flexible []string
}

func newColumns(l look, headings ...string) *columns {
	return &columns{look: l, headings: headings}
}

// alignRight sets columns of numbers to the right.
func (c *columns) alignRight(headings ...string) { c.right = headings }

// giveWay names the columns that are shortened, the first one first, where a
// terminal is too narrow for all.
func (c *columns) giveWay(headings ...string) { c.flexible = headings }

// painted is a cell in colour; without one it is as the terminal has it.
type painted struct {
	colour colour
	text   string
}

// add adds a row of strings and painted cells. Those that are missing at its
// end stay empty.
func (c *columns) add(cells ...any) {
	row := make([]painted, len(c.headings))
	for i := range min(len(row), len(cells)) {
		switch cell := cells[i].(type) {
		case painted:
			row[i] = painted{cell.colour, printable(cell.text)}
		default:
			row[i].text = printable(fmt.Sprint(cell))
		}
	}
	c.rows = append(c.rows, row)
}

// write writes the table. On a terminal, rows are cut to its width; a pipe gets
// all of them.
func (c *columns) write(w io.Writer) error {
	for _, line := range c.lines() {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// lines are the table's, the headings first.
func (c *columns) lines() (lines []string) {
	if c.look.terminal {
		c.shorten()
	}
	for line := range strings.Lines(c.render()) {
		line = strings.TrimRight(line, " \n")
		if c.look.terminal {
			line = text.Snip(line, c.look.width, "…")
		}
		lines = append(lines, line)
	}
	return lines
}

func (c *columns) render() string {
	writer := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	writer.SetStyle(style)
	header := make(table.Row, len(c.headings))
	var configs []table.ColumnConfig
	for i, heading := range c.headings {
		header[i] = heading
		if slices.Contains(c.right, heading) {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	writer.SetColumnConfigs(configs)
	writer.AppendHeader(header)
	for _, row := range c.rows {
		cells := make(table.Row, len(row))
		for i, cell := range row {
			cells[i] = cell.text
			if cell.colour != 0 {
				cells[i] = c.look.paint(cell.colour, cell.text)
			}
		}
		writer.AppendRow(cells)
	}
	return writer.Render()
}

// narrowest is what a column that gives way keeps.
const narrowest = 6

// shorten makes the flexible columns as narrow as the terminal wants them, and
// leaves out one in which there is nothing.
func (c *columns) shorten() {
	widths, over := make([]int, len(c.headings)), -c.look.width-2
	for i, heading := range c.headings {
		widths[i] = text.StringWidth(heading)
		for _, row := range c.rows {
			widths[i] = max(widths[i], text.StringWidth(row[i].text))
		}
		over += widths[i] + 2
	}
	for _, heading := range c.flexible {
		i := slices.Index(c.headings, heading)
		if i < 0 {
			continue // this table has no such column
		}
		if over > 0 && !slices.ContainsFunc(c.rows, func(row []painted) bool { return row[i].text != "" }) {
			over -= widths[i] + 2
			c.headings, widths = slices.Delete(slices.Clone(c.headings), i, i+1), slices.Delete(widths, i, i+1)
			for r := range c.rows {
				c.rows[r] = slices.Delete(c.rows[r], i, i+1)
			}
			continue // a column of nothing
		}
		width := max(widths[i]-max(over, 0), min(widths[i], max(narrowest, text.StringWidth(heading))))
		over -= widths[i] - width
		for _, row := range c.rows {
			row[i].text = text.Snip(row[i].text, width, "…")
		}
	}
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
