// Package clip makes long texts fit: it keeps their beginning and their end, and
// cuts them where a reader minds least.
package clip

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Text keeps the beginning and the end of what is written to it, whatever its length.
type Text struct {
	// HeadMax and TailMax are how many bytes are kept of each.
	HeadMax, TailMax int
	head, tail       []byte // tail has up to twice what is kept
	// Total is how many bytes were written.
	Total int64
}

// Write is io.Writer; it never fails.
func (c *Text) Write(b []byte) (int, error) {
	n := len(b)
	c.Total += int64(n)
	room := min(c.HeadMax-len(c.head), n)
	c.head, b = append(c.head, b[:room]...), b[room:]
	if over := len(b) - c.TailMax; over > 0 {
		b = b[over:]
	}
	c.tail = append(c.tail, b...)
	if over := len(c.tail) - c.TailMax; over > c.TailMax {
		c.tail = slices.Delete(c.tail, 0, over)
	}
	return n, nil
}

// Size is the length of Cut without a limit.
func (c *Text) Size() int { return len(c.head) + min(len(c.tail), c.TailMax) }

// Cut is what there is within so many bytes: the head, and where bytes are
// missing between them, the tail. Both are cut at lines where that costs little,
// and never within a character.
func (c *Text) Cut(limit int) (head, tail string, cut int64) {
	kept := c.tail[max(0, len(c.tail)-c.TailMax):]
	h, t := c.head, kept
	if c.Total == int64(len(h)+len(t)) { // all of it is here
		all := slices.Concat(h, t)
		if len(all) <= limit {
			return Valid(all), "", 0
		}
		h, t = all, all
	}
	if share := limit * c.HeadMax / max(1, c.HeadMax+c.TailMax); len(h) > share {
		h = h[:share]
	}
	if share := limit - len(h); len(t) > share {
		t = t[len(t)-share:]
	}
	h, t = endAtLine(h), beginAtLine(t)
	return Valid(h), Valid(t), c.Total - int64(len(h)+len(t))
}

// endAtLine cuts at the last newline, if it is in the second half.
func endAtLine(b []byte) []byte {
	if i := bytes.LastIndexByte(b, '\n') + 1; i > len(b)/2 {
		return b[:i]
	}
	return EndAtRune(b)
}

// beginAtLine cuts behind the first newline, if it is in the first half.
func beginAtLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n') + 1; i > 0 && i < (len(b)+1)/2 {
		return b[i:]
	}
	for i := 0; i < min(utf8.UTFMax, len(b)); i++ {
		if utf8.RuneStart(b[i]) {
			return b[i:]
		}
	}
	return b
}

// Valid is the text of bytes, as JSON takes it.
func Valid(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// Short is a text of so many bytes at most.
func Short(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return Valid(EndAtRune([]byte(text[:most]))) + "…"
}

// EndAtRune cuts off a character that is not whole.
func EndAtRune(b []byte) []byte {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// Shares parts a limit among sizes: who needs less leaves the rest to the others.
func Shares(sizes []int, limit int) []int {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return sizes[a] - sizes[b] })
	out := make([]int, len(sizes))
	for n, i := range order {
		out[i] = min(sizes[i], limit/(len(order)-n))
		limit -= out[i]
	}
	return out
}
