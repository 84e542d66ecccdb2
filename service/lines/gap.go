package lines

import "time"

// Drop turns dropping on and off. While it is on, output is counted, not kept; a GAP record follows when it is turned off,
// or at Finish. What is left of a line then begins a new one.
func (c *Cutter) Drop(on bool) {
	if on == c.dropping {
		return
	}
	c.dropping = on
	switch {
	case on:
		c.startGap()
	case !c.over:
		c.endGap()
	}
}

// Missing returns the body of a GAP record in place of the messages from one Head up to another, both of one Cutter; nil if
// there is nothing between them.
func Missing(from, to Head, now time.Time) []byte {
	gap := Gap{Lines: to.next - from.next, Bytes: to.all - from.all}
	if gap == (Gap{}) {
		return nil
	}
	return AppendJSON(nil, Record{Pos: from.next, TimeNanos: now.UnixNano(), Gap: &gap})
}

// Dropping reports whether output is being dropped.
func (c *Cutter) Dropping() bool { return c.dropping || c.over }

// admits reports whether size more bytes may be stored.
func (c *Cutter) admits(size int64) bool {
	return c.maxBytes <= 0 || c.totals.Bytes+size <= c.maxBytes
}

// cutOff drops all that comes from here on.
func (c *Cutter) cutOff() {
	c.over = true
	c.startGap()
}

// startGap drops what is held back with what follows it.
func (c *Cutter) startGap() {
	c.closeGroup()
	for s := range c.streams {
		if held := c.streams[s].held; len(held) > 0 {
			c.streams[s].held = nil
			c.discard(Stream(s), held)
		}
	}
}

// endGap writes the GAP record, if anything was dropped.
func (c *Cutter) endGap() {
	if c.gap == (Gap{}) {
		return
	}
	c.emit(Record{Pos: c.next, TimeNanos: c.nanos, Gap: &c.gap})
	c.next += c.gap.Lines
	c.gap = Gap{}
	c.streams = [2]unfinished{}
}
