package mcp

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// clip keeps the beginning and the end of a text, whatever its length.
type clip struct {
	headMax, tailMax int
	head, tail       []byte // tail has up to twice what is kept
	total            int64
}

func (c *clip) Write(b []byte) (int, error) {
	n := len(b)
	c.total += int64(n)
	room := min(c.headMax-len(c.head), n)
	c.head, b = append(c.head, b[:room]...), b[room:]
	if over := len(b) - c.tailMax; over > 0 {
		b = b[over:]
	}
	c.tail = append(c.tail, b...)
	if over := len(c.tail) - c.tailMax; over > c.tailMax {
		c.tail = slices.Delete(c.tail, 0, over)
	}
	return n, nil
}

// size is what text(…) would have without a limit.
func (c *clip) size() int { return len(c.head) + min(len(c.tail), c.tailMax) }

// text is what there is within so many bytes: the head, and where bytes are
// missing between them, the tail. Both are cut at lines where that costs little,
// and never within a character.
func (c *clip) text(limit int) (head, tail string, cut int64) {
	kept := c.tail[max(0, len(c.tail)-c.tailMax):]
	if c.total == int64(len(c.head)+len(kept)) && c.total <= int64(limit) {
		return valid(c.head) + valid(kept), "", 0
	}
	h, t := c.head, kept
	if share := limit * c.headMax / max(1, c.headMax+c.tailMax); len(h) > share {
		h = h[:share]
	}
	if share := limit - len(h); len(t) > share {
		t = t[len(t)-share:]
	}
	h, t = endAtLine(h), beginAtLine(t)
	return valid(h), valid(t), c.total - int64(len(h)+len(t))
}

// endAtLine cuts at the last newline, if it is in the second half.
func endAtLine(b []byte) []byte {
	if i := bytes.LastIndexByte(b, '\n') + 1; i > len(b)/2 {
		return b[:i]
	}
	return endAtRune(b)
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

// valid is the text of bytes, as JSON takes it.
func valid(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// short is a text of so many bytes at most.
func short(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return valid(endAtRune([]byte(text[:most]))) + "…"
}

func endAtRune(b []byte) []byte {
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

// shares parts a limit among sizes: who needs less leaves the rest to the others.
func shares(sizes []int, limit int) []int {
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
