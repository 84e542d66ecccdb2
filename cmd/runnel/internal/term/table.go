package term

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// SortedKeys of a map, for tables.
func SortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// Table is a table without lines: headings in capitals, columns two spaces
// apart, as of the tools that a shell's user knows.
type Table struct {
	look     Look
	headings []string
	Rows     [][]Painted
	right    []string
	flexible []string
	ids      string
	optional []string
	// Wide has nothing shortened, whatever the terminal's width.
	Wide bool
}

func NewTable(l Look, headings ...string) *Table {
	return &Table{look: l, headings: headings}
}

// AlignRight sets columns of numbers to the right.
func (c *Table) AlignRight(headings ...string) { c.right = headings }

// GiveWay names the columns that are shortened, the first one first, where a
// terminal is too narrow for all.
func (c *Table) GiveWay(headings ...string) { c.flexible = headings }

// Beginnings names the column of ids, of which a terminal that is too narrow shows
// as much as tells them apart.
func (c *Table) Beginnings(heading string) { c.ids = heading }

// LeaveOut names the columns that a terminal shows only if there is room, once the
// others have been shortened; the first one goes first.
func (c *Table) LeaveOut(headings ...string) { c.optional = headings }

// Painted is a cell in colour; without one it is as the terminal has it.
type Painted struct {
	Colour colour
	Text   string
}

// Add adds a row of strings and painted cells. Those that are missing at its
// end stay empty.
func (c *Table) Add(cells ...any) {
	row := make([]Painted, len(c.headings))
	for i := range min(len(row), len(cells)) {
		switch cell := cells[i].(type) {
		case Painted:
			row[i] = Painted{cell.Colour, Printable(cell.Text)}
		default:
			row[i].Text = Printable(fmt.Sprint(cell))
		}
	}
	c.Rows = append(c.Rows, row)
}

// Write writes the table. On a terminal, rows are cut to its width; a pipe gets
// all of them.
func (c *Table) Write(w io.Writer) error {
	for _, line := range c.Lines() {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// Lines are the table's, the headings first.
func (c *Table) Lines() (lines []string) {
	fits := c.look.Terminal && !c.Wide
	if fits {
		c.shorten()
	}
	for line := range strings.Lines(c.render()) {
		line = strings.TrimRight(line, " \n")
		if fits {
			line = text.Snip(line, c.look.Width, "…")
		}
		lines = append(lines, line)
	}
	return lines
}

func (c *Table) render() string {
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
	for _, row := range c.Rows {
		cells := make(table.Row, len(row))
		for i, cell := range row {
			cells[i] = cell.Text
			if cell.Colour != 0 {
				cells[i] = c.look.paint(cell.Colour, cell.Text)
			}
		}
		writer.AppendRow(cells)
	}
	return writer.Render()
}

// narrowest is what a column that gives way keeps.
const narrowest = 8 // "exit 143"

// shorten makes the flexible columns as narrow as the terminal wants them, and
// leaves out one in which there is nothing.
func (c *Table) shorten() {
	widths, over := make([]int, len(c.headings)), -c.look.Width-2
	for i, heading := range c.headings {
		widths[i] = text.StringWidth(heading)
		for _, row := range c.Rows {
			widths[i] = max(widths[i], text.StringWidth(row[i].Text))
		}
		over += widths[i] + 2
	}
	if i := slices.Index(c.headings, c.ids); c.ids != "" && i >= 0 && over > 0 {
		width := c.cutIDs(i)
		over -= widths[i] - width
		widths[i] = width
	}
	least := func(i int) int { return min(widths[i], max(narrowest, text.StringWidth(c.headings[i]))) }
	room := 0 // that the flexible columns can give
	for _, heading := range c.flexible {
		if i := slices.Index(c.headings, heading); i >= 0 {
			room += widths[i] - least(i)
		}
	}
	for _, heading := range c.optional {
		if i := slices.Index(c.headings, heading); i >= 0 && over > room {
			over -= widths[i] + 2
			widths = slices.Delete(widths, i, i+1)
			c.drop(i)
		}
	}
	for _, heading := range c.flexible {
		i := slices.Index(c.headings, heading)
		if i < 0 {
			continue // this table has no such column
		}
		if over > 0 && !slices.ContainsFunc(c.Rows, func(row []Painted) bool { return row[i].Text != "" }) {
			over -= widths[i] + 2
			widths = slices.Delete(widths, i, i+1)
			c.drop(i)
			continue // a column of nothing
		}
		width := max(widths[i]-max(over, 0), least(i))
		over -= widths[i] - width
		for _, row := range c.Rows {
			row[i].Text = text.Snip(row[i].Text, width, "…")
		}
	}
}

// ulidLength is that of the ids that are made here: ten characters are the time,
// and whoever chose an id of their own is shown all of it.
const (
	ulidLength  = 26
	leastOfULID = 12
)

// cutIDs cuts each of a column to the shortest beginning that no other has, and
// returns the column's width.
func (c *Table) cutIDs(column int) (width int) {
	width = text.StringWidth(c.headings[column])
	cut := make([]string, len(c.Rows))
	for i, row := range c.Rows {
		id := row[column].Text
		length := len(id)
		if begin, _, _ := strings.Cut(id, "-"); len(begin) == ulidLength && begin == strings.ToUpper(begin) {
			length = leastOfULID
		}
		for _, other := range c.Rows {
			for o := other[column].Text; o != id && length < len(id) && strings.HasPrefix(o, id[:length]); {
				length++
			}
		}
		cut[i] = id[:length]
		width = max(width, text.StringWidth(cut[i]))
	}
	for i, row := range c.Rows {
		row[column].Text = cut[i]
	}
	return width
}

// drop leaves a column out.
func (c *Table) drop(i int) {
	c.headings = slices.Delete(slices.Clone(c.headings), i, i+1)
	for r := range c.Rows {
		c.Rows[r] = slices.Delete(c.Rows[r], i, i+1)
	}
}

// Printable keeps what a stranger wrote, such as the name of a run, from moving
// the cursor, colouring the screen or breaking the row.
func Printable(s string) string {
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

// Labels is "env=prod,zone=a", in order.
func Labels(m map[string]string) string {
	var all []string
	for _, key := range SortedKeys(m) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, ",")
}

// Dash stands for what is empty.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Longest is the width of the longest name.
func Longest(names []string) int {
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	return width
}
