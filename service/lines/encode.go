package lines

import "slices"

// groupTail is what turns `{…,"message` into a record of several lines; a line that stays alone loses it again.
const groupTail = `s":["`

// groupLine adds a whole plain line to the record at the end of the message, or begins one. It returns false when there was
// no room: the message is full then, and the line is for the next one.
func (c *Cutter) groupLine(s Stream, text []byte) bool {
	if c.group.lines == 0 || c.group.stream != s {
		c.closeGroup()
		before := len(c.buf)
		c.begin(c.next)
		c.grow(len(text))
		c.buf = appendHead(c.buf, c.next, c.stamp)
		if s == Stderr {
			c.buf = append(c.buf, `,"stream":"stderr"`...)
		}
		c.buf = append(c.buf, `,"message`...)
		c.group = group{stream: s, tail: len(c.buf)}
		c.buf = append(c.buf, groupTail...)
		c.buf = append(appendEscaped(c.buf, text), '"')
		if len(c.buf)+len("]}\n") > c.maxMessage {
			c.buf, c.group = c.buf[:before], group{}
			c.seal()
			return false
		}
	} else {
		before := len(c.buf)
		c.buf = append(c.buf, `,"`...)
		c.buf = append(appendEscaped(c.buf, text), '"')
		if len(c.buf)+len("]}\n") > c.maxMessage {
			c.buf = c.buf[:before]
			c.seal()
			return false
		}
	}
	c.group.lines++
	c.next++
	c.stored(s, text, true, true)
	return true
}

// closeGroup ends the record of several lines, in the form for one where there is one.
func (c *Cutter) closeGroup() {
	if c.group.lines == 1 {
		tail := c.group.tail
		text := c.buf[tail+len(groupTail):]
		c.buf = append(c.buf[:tail], `":"`...)
		c.buf = append(c.buf, text...)
		c.buf = append(c.buf, "}\n"...)
	} else if c.group.lines > 1 {
		c.buf = append(c.buf, "]}\n"...)
	}
	c.group = group{}
}

// record writes a record with one piece of text. It returns false when there was no room, as groupLine does.
func (c *Cutter) record(s Stream, text []byte, open bool) bool {
	c.closeGroup()
	st := &c.streams[s]
	pos := st.pos
	if pos == 0 {
		pos = c.next
	}
	before := len(c.buf)
	c.begin(pos)
	c.grow(len(text))
	c.buf = appendHead(c.buf, pos, c.stamp)
	c.buf = append(appendPiece(c.buf, s, text, open), "}\n"...)
	if len(c.buf) > c.maxMessage {
		c.buf = c.buf[:before]
		c.seal()
		return false
	}
	first := st.pos == 0
	if first {
		c.next++
	}
	st.pos = 0
	if open {
		st.pos = pos
	}
	c.stored(s, text, !open, first)
	return true
}

// piece writes a record of an unfinished line, in a second message where the first is full.
func (c *Cutter) piece(s Stream, text []byte) {
	if !c.record(s, text, true) {
		c.record(s, text, true)
	}
}

// emit writes a record that has no text, in a second message where the first is full.
func (c *Cutter) emit(r Record) {
	c.closeGroup()
	before := len(c.buf)
	c.begin(r.Pos)
	c.buf = AppendJSON(c.buf, r)
	if len(c.buf) > c.maxMessage {
		c.buf = c.buf[:before]
		c.seal()
		c.begin(r.Pos)
		c.buf = AppendJSON(c.buf, r)
	}
	c.counted()
}

// stored accounts for text that is in a record now.
func (c *Cutter) stored(s Stream, text []byte, newline, first bool) {
	size := int64(len(text))
	if newline {
		size++
	}
	c.totals.Bytes += size
	c.bytes[s] += size
	if first {
		c.totals.Lines++
	}
	c.digest.add(text, newline)
	c.counted()
}

// counted ends the message when it has as many lines as it may.
func (c *Cutter) counted() {
	c.count++
	if c.pack > 0 && c.count >= c.pack {
		c.seal()
	}
}

// begin notes where a message begins, if this is its first record.
func (c *Cutter) begin(pos int64) {
	if len(c.buf) == 0 {
		c.head = c.here(pos)
	}
}

// here is the Head of what would be written now.
func (c *Cutter) here(pos int64) Head {
	return Head{Pos: pos, Bytes: c.bytes, next: c.next, all: c.totals.Bytes + c.totals.Dropped.Bytes - c.gap.Bytes}
}

// seal ends the message that is being filled.
func (c *Cutter) seal() {
	c.closeGroup()
	c.full, c.heads = append(c.full, c.buf), append(c.heads, c.head)
	c.buf, c.spare, c.count = c.spare[:0], nil, 0
}

// grow makes room for a record, doubling from a small beginning.
func (c *Cutter) grow(text int) {
	if need := text + recordFrame; cap(c.buf)-len(c.buf) < need {
		c.buf = slices.Grow(c.buf, max(need, min(len(c.buf), c.maxMessage-len(c.buf)), firstBuf))
	}
}
