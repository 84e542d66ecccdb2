package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how many runners have answered: a bar with count and rate when
// the total is known, else a count. It draws on a terminal only, in one line
// that done takes away. It has no goroutine: add draws, at most every
// progressPause. Not safe for concurrent use.
type progress struct {
	w     io.Writer
	look  look
	total int // 0 if not known
	count int
	began time.Time
	drawn time.Time
}

const (
	progressPause = 100 * time.Millisecond
	barWidth      = 24
)

// newProgress begins.
func newProgress(w io.Writer, l look, total int) *progress {
	return &progress{w: w, look: l, total: total, began: time.Now()}
}

// add counts one more.
func (p *progress) add() {
	p.count++
	now := time.Now()
	if !p.look.terminal || now.Sub(p.drawn) < progressPause {
		return
	}
	p.drawn = now
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(now))
}

// done takes the line away.
func (p *progress) done() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) line(now time.Time) string {
	rate := float64(p.count) / max(now.Sub(p.began).Seconds(), 0.001)
	if p.total <= 0 {
		return fmt.Sprintf("%d runners, %.0f/s", p.count, rate)
	}
	full := min(barWidth*p.count/p.total, barWidth)
	bar := strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full)
	return fmt.Sprintf("[%s] %d/%d runners, %.0f/s", bar, p.count, p.total, rate)
}
