package term

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Progress shows how many runners have answered: a bar with count and rate when
// the total is known, else a count. It draws on a terminal only, in one line
// that done takes away. It has no goroutine: add draws, at most every
// progressPause. Not safe for concurrent use.
type Progress struct {
	w     io.Writer
	look  Look
	Total int // 0 if not known
	count int
	began time.Time
	drawn time.Time
}

const (
	progressPause = 100 * time.Millisecond
	barWidth      = 24
)

// NewProgress begins.
func NewProgress(w io.Writer, l Look, total int) *Progress {
	return &Progress{w: w, look: l, Total: total, began: time.Now()}
}

// Add counts one more.
func (p *Progress) Add() {
	p.count++
	now := time.Now()
	if !p.look.Terminal || now.Sub(p.drawn) < progressPause {
		return
	}
	p.drawn = now
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(now))
}

// Done takes the line away.
func (p *Progress) Done() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *Progress) line(now time.Time) string {
	rate := float64(p.count) / max(now.Sub(p.began).Seconds(), 0.001)
	if p.Total <= 0 {
		return fmt.Sprintf("%d runners, %.0f/s", p.count, rate)
	}
	full := min(barWidth*p.count/p.Total, barWidth)
	bar := strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full)
	return fmt.Sprintf("[%s] %d/%d runners, %.0f/s", bar, p.count, p.Total, rate)
}
