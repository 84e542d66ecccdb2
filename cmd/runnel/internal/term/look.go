// Package term decides how things look: colours, tables, progress, and the order
// of two streams that end on one screen.
package term

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// plainWidth is how wide things are where there is no terminal to ask.
const plainWidth = 80

// Look is how to write to one stream.
type Look struct {
	Terminal bool
	Colour   bool
	Width    int // columns
	Height   int // rows, of a terminal
}

// LookOf finds out what stands behind a writer. Colour is for terminals, and
// not for those of people who set NO_COLOR (no-color.org) or TERM=dumb.
func LookOf(w io.Writer) Look {
	l := Look{Width: plainWidth}
	for wrapper, ok := w.(interface{ Unwrap() io.Writer }); ok; wrapper, ok = w.(interface{ Unwrap() io.Writer }) {
		w = wrapper.Unwrap()
	}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return l
	}
	l.Terminal = true
	l.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, height, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		l.Width, l.Height = width, height
	}
	return l
}

// colour is an SGR code.
type colour int

const (
	Red    colour = 31
	Green  colour = 32
	Yellow colour = 33
	Faint  colour = 2
)

// paint colours a text where there is colour. The text has to say it all by
// itself.
func (l Look) paint(c colour, text string) string {
	if !l.Colour {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}

// ShortDuration is a duration as people say it, in one unit: 0.8s, 12s, 5m, 3h, 2d.
func ShortDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + ShortDuration(-d)
	case d < 950*time.Microsecond:
		return "0s"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%dms", d.Round(time.Millisecond).Milliseconds())
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// age is how long ago t was.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return WholeSeconds(now.Sub(t))
}

// WholeSeconds is shortDuration without fractions, for what is measured between
// two clocks.
func WholeSeconds(d time.Duration) string {
	if d = max(d, 0); d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return ShortDuration(d)
}

// Ago is age in words, for a sentence or a column of its own.
func Ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return age(now, t) + " ago"
}

// Size is a number of bytes as people say it: 1.2 MB.
func Size(bytes int64) string {
	if bytes < 0 {
		return "-"
	}
	return humanize.Bytes(uint64(bytes))
}

// Plural is "1 runner", "2 runners".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
