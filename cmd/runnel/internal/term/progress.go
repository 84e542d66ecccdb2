package term

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Progress shows how far long work has come: a bar with counts and rate when the
// total is known, else a count. It draws on a terminal only, in one line that Done
// takes away. It has no goroutine: Add draws, at most every progressPause. Not safe
// for concurrent use.
type Progress struct {
	w     io.Writer
	look  Look
	noun  string
	Total int64 // 0 if not known
	count int64
	began time.Time
	drawn time.Time
	shown bool
}

const (
	progressPause = 100 * time.Millisecond
	// maxBar and minBar bound the bar: on a narrow terminal it shrinks, and goes.
	maxBar, minBar = 24, 4
)

// Bytes is the noun of a Progress that counts bytes: they have units.
const Bytes = "bytes"

// NewProgress begins. Noun is what is counted, in the plural. Work that is over at
// once draws nothing.
func NewProgress(w io.Writer, l Look, noun string, total int64) *Progress {
	now := time.Now()
	return &Progress{w: w, look: l, noun: noun, Total: total, began: now, drawn: now}
}

// Beside is the look of a progress that must not mix with output: it is drawn where
// standard error is a terminal and standard output is none.
func (l Look) Beside(out Look) Look {
	l.Terminal = l.Terminal && !out.Terminal
	return l
}

// Add counts n more.
func (p *Progress) Add(n int64) {
	p.count += n
	now := time.Now()
	if !p.look.Terminal || now.Sub(p.drawn) < progressPause {
		return
	}
	p.drawn, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(now))
}

// Done takes the line away.
func (p *Progress) Done() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.shown = false
}

// line is never as wide as the terminal: a line that wraps can't be taken away.
func (p *Progress) line(now time.Time) string {
	rate := int64(float64(p.count) / max(now.Sub(p.began).Seconds(), 0.001))
	width := p.look.Width - 1
	if p.Total <= 0 {
		return firstThatFits(width, p.amount(p.count)+", "+p.rate(rate), p.amount(p.count))
	}
	done := min(p.count, p.Total)
	counts := p.amount(p.Total)
	if p.noun == Bytes {
		counts = Size(done) + " of " + counts
	} else {
		counts = fmt.Sprintf("%d/%s", done, counts)
	}
	text := firstThatFits(width, counts+", "+p.rate(rate), counts)
	bar := min(maxBar, width-len(text)-len("[] "))
	if bar < minBar {
		return text
	}
	full := int(int64(bar) * done / p.Total)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", bar-full) + "] " + text
}

func (p *Progress) amount(n int64) string {
	if p.noun == Bytes {
		return Size(n)
	}
	return fmt.Sprintf("%d %s", n, p.noun)
}

func (p *Progress) rate(perSecond int64) string {
	if p.noun == Bytes {
		return Size(perSecond) + "/s"
	}
	return fmt.Sprintf("%d/s", perSecond)
}

// firstThatFits is the first text of at most so many columns, or the last one cut.
func firstThatFits(width int, texts ...string) string {
	for _, text := range texts {
		if len(text) <= width {
			return text
		}
	}
	last := texts[len(texts)-1]
	return last[:max(0, min(width, len(last)))]
}
