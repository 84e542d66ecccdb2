package lines

import (
	"bytes"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	// DefaultWidthRunes is the width of a record where the task names none.
	DefaultWidthRunes = 500
	// DefaultMaxMessage bounds an encoded message, in bytes.
	DefaultMaxMessage = 512 << 10
	// MaxText bounds the text of a record, in bytes, whatever its width.
	MaxText = 64 << 10

	minMaxMessage = 4 << 10
	firstBuf      = 4 << 10
	// recordFrame is more than a record has around its text.
	recordFrame = 160
	// worstText is how much longer than the text a record can be, in thirds: a control character takes 6 bytes, and raw,
	// which one bad byte brings about, 4/3 of all of it.
	worstText = 3*6 + 4
)

// Config bounds what a Cutter makes. The zero value means the defaults.
type Config struct {
	WidthRunes int   // runes in a record at most; ≤ 0: 500
	Pack       int   // lines in a message at most; ≤ 0: no limit; 1: one line a message
	MaxMessage int   // bytes in an encoded message at most, not below 4 KiB; ≤ 0: 512 KiB
	MaxBytes   int64 // bytes of text stored at most, newlines included: what is above is dropped; ≤ 0: no limit
}

// A Cutter makes message bodies of what is read from the two outputs of a process. It is not safe for concurrent use.
type Cutter struct {
	width      int
	pack       int
	maxMessage int
	maxBytes   int64
	maxText    int // bytes of text in a record at most, so that it fits a message when all of it is escaped
	window     int // how far to look for a newline: past this, a line is cut anyway

	buf   []byte   // the body that is being filled
	count int      // records and packed lines in buf
	head  Head     // of buf, once that has something
	full  [][]byte // bodies that take no more, oldest first
	heads []Head   // theirs
	spare []byte   // memory for the next body
	group group    // the record at the end of buf, while it can take more lines

	streams [2]unfinished
	next    int64 // pos of the next new line
	nanos   int64
	stamp   []byte // the time of this read, as every record of it has it

	dropping bool // asked for by Drop
	over     bool // MaxBytes is reached
	gap      Gap  // dropped since the last record

	process string // the step that prints
	digest  digest
	totals  Totals
	bytes   [2]int64 // of each stream, stored
}

// unfinished is the end of a stream, after its last newline.
type unfinished struct {
	held []byte // text that is in no record yet; it fits one
	pos  int64  // number of this line when pieces of it are out (or dropped), else 0
	// since is when the first byte of held was read.
	since time.Time
}

// group is a "messages" record that is being written.
type group struct {
	stream Stream
	lines  int // 0: there is none
	tail   int // where `s":["` begins in buf: what a line alone doesn't need
}

// NewCutter returns a Cutter for the output of one run.
func NewCutter(cfg Config) *Cutter {
	c := &Cutter{width: cfg.WidthRunes, pack: cfg.Pack, maxMessage: cfg.MaxMessage, maxBytes: cfg.MaxBytes, next: 1}
	if c.width <= 0 {
		c.width = DefaultWidthRunes
	}
	if c.maxMessage <= 0 {
		c.maxMessage = DefaultMaxMessage
	}
	c.maxMessage = max(c.maxMessage, minMaxMessage)
	c.maxText = min(MaxText, (c.maxMessage-recordFrame)*3/worstText)
	c.window = c.maxText + 1
	if c.width < c.maxText/utf8.UTFMax {
		c.window = c.width*utf8.UTFMax + 1
	}
	return c
}

// Write cuts and encodes what one read of one pipe returned, at the time of that read. It stops when a message is full:
// it returns how many bytes it took, and when they are less than len(p), the caller takes a message with Next and writes
// the rest. What is dropped counts as taken. p is not kept.
func (c *Cutter) Write(s Stream, p []byte, now time.Time) int {
	c.at(now)
	rest, held := p, len(c.streams[s].held)
	for len(rest) > 0 && len(c.full) == 0 && !c.Dropping() {
		rest = rest[c.step(s, rest):]
	}
	if st := &c.streams[s]; held == 0 || len(st.held) != held+len(p)-len(rest) {
		st.since = now // nothing of what was held before
	}
	c.closeGroup()
	if c.Dropping() && len(rest) > 0 {
		c.discard(s, rest)
		return len(p)
	}
	return len(p) - len(rest)
}

// SetStep names the step of the run that prints what is written from now on; empty is the run itself.
func (c *Cutter) SetStep(name string) {
	c.FlushOpen(time.Now()) // of the step before
	c.process, c.stamp = name, nil
}

// FlushOpen puts lines that are unfinished since then, or for longer, into records, so that people see a prompt or a
// progress bar. A rune that is cut stays behind.
func (c *Cutter) FlushOpen(since time.Time) {
	for s := range c.streams {
		st := &c.streams[s]
		if n := len(st.held) - cutRune(st.held); n > 0 && !st.since.After(since) {
			c.at(st.since)
			c.flush(Stream(s), n)
		}
	}
}

// HasOpen reports whether FlushOpen has something to do.
func (c *Cutter) HasOpen() bool {
	for s := range c.streams {
		if held := c.streams[s].held; len(held) > cutRune(held) {
			return true
		}
	}
	return false
}

// Finish ends both streams: what was held back comes out, and a GAP record if the end was dropped. Only End may follow.
func (c *Cutter) Finish(now time.Time) {
	c.at(now)
	for s := range c.streams {
		for st := &c.streams[s]; len(st.held) > 0; {
			n, _ := prefix(st.held, c.width, c.maxText)
			c.flush(Stream(s), n)
		}
	}
	c.endGap()
}

// End returns the body of the EOF record, which goes last in a message of its own.
func (c *Cutter) End(end End, now time.Time) []byte {
	return endBody(end, c.Totals(), Record{Pos: c.next, TimeNanos: now.UnixNano()})
}

// Next takes a message body, and gives the Cutter dst's memory in exchange. What is not full yet is handed out too: so the
// message grows while the caller has no use for it. It returns false when there is nothing.
func (c *Cutter) Next(dst []byte) ([]byte, bool) {
	if len(c.full) > 0 {
		body := c.full[0]
		c.full, c.heads = slices.Delete(c.full, 0, 1), slices.Delete(c.heads, 0, 1)
		if cap(c.buf) == 0 {
			c.buf = dst[:0]
		} else {
			c.spare = dst[:0]
		}
		return body, true
	}
	if len(c.buf) == 0 {
		return dst, false
	}
	body := c.buf
	c.buf, c.count = dst[:0], 0
	return body, true
}

// Peek returns the message body that Next would take, or nil. It is valid until the Cutter is next used.
func (c *Cutter) Peek() []byte {
	if len(c.full) > 0 {
		return c.full[0]
	}
	if len(c.buf) > 0 {
		return c.buf
	}
	return nil
}

// Head tells where the message body that Next would take stands in the log; where there is none, where the EOF record does.
func (c *Cutter) Head() Head {
	switch {
	case len(c.heads) > 0:
		return c.heads[0]
	case len(c.buf) > 0:
		return c.head
	}
	return c.EndHead()
}

// EndHead tells where the EOF record would stand.
func (c *Cutter) EndHead() Head { return c.here(c.next) }

// Pending returns how many encoded bytes wait for Next.
func (c *Cutter) Pending() int {
	n := len(c.buf)
	for _, b := range c.full {
		n += len(b)
	}
	return n
}

// Release lets go of memory that a flood needed and a quiet task does not.
func (c *Cutter) Release() {
	c.spare = nil
	if len(c.buf) == 0 {
		c.buf = nil
	}
}

// Totals returns what was put into records so far, and what was dropped.
func (c *Cutter) Totals() Totals {
	t := c.totals
	t.SHA256 = c.digest.hex()
	return t
}

// at formats the time of a read, once for all its records.
func (c *Cutter) at(now time.Time) {
	if nanos := now.UnixNano(); nanos != c.nanos || c.stamp == nil {
		c.nanos = nanos
		c.stamp = appendStep(appendStamp(c.stamp[:0], nanos), c.process)
	}
}

// step makes one record of the beginning of rest, or keeps it for later. It returns how much of rest it took, which can be
// nothing when a rune that was held has to wait for the next record, or when the message is full.
func (c *Cutter) step(s Stream, rest []byte) int {
	st := &c.streams[s]
	line := rest[:min(len(rest), c.window)]
	end := bytes.IndexByte(line, '\n')
	whole := end >= 0
	if whole {
		line = line[:end]
	}
	held := len(st.held)
	if held > 0 {
		st.held = append(st.held, line...)
		line = st.held
	}

	n, wait := c.fit(line, whole)
	if wait {
		c.keep(s, line)
		return len(line) - held
	}
	whole = whole && n == len(line)
	size := int64(n)
	if whole {
		size++
	}
	if !c.admits(size) {
		st.held = st.held[:held]
		c.cutOff()
		return 0
	}

	ok := false
	if whole && st.pos == 0 && utf8.Valid(line) {
		ok = c.groupLine(s, line)
	} else {
		ok = c.record(s, line[:n], !whole)
	}
	if !ok {
		st.held = st.held[:held]
		return 0
	}
	if n < held {
		c.keep(s, line[n:held])
		return 0
	}
	st.held = st.held[:0]
	return int(size) - held
}

// flush puts the first n bytes that a stream holds back into a record.
func (c *Cutter) flush(s Stream, n int) {
	if !c.admits(int64(n)) {
		c.cutOff()
		return
	}
	held := c.streams[s].held
	c.piece(s, held[:n])
	c.keep(s, held[n:])
}

// fit returns how much of a line's text goes into the next record, or that it is too early to say.
func (c *Cutter) fit(line []byte, whole bool) (n int, wait bool) {
	if whole {
		if len(line) <= c.width && len(line) <= c.maxText {
			return len(line), false
		}
		n, _ = prefix(line, c.width, c.maxText)
		return n, false
	}
	cut := cutRune(line)
	text := line[:len(line)-cut]
	if len(line) <= c.width && len(line) <= c.maxText {
		return 0, true
	}
	n, runes := prefix(text, c.width, c.maxText)
	switch {
	case n < len(text):
		return n, false
	case n == 0 || cut == 0:
		return 0, true
	default: // one rune more comes for sure: it is the next record's if this one is full
		return n, runes < c.width && len(line) <= c.maxText
	}
}

// keep makes text what a stream holds back. text may lie in the memory of what was held before.
func (c *Cutter) keep(s Stream, text []byte) {
	st := &c.streams[s]
	st.held = append(st.held[:0], text...)
}

// discard counts output instead of storing it.
func (c *Cutter) discard(s Stream, p []byte) {
	st := &c.streams[s]
	begun := int64(bytes.Count(p, []byte{'\n'}))
	if p[len(p)-1] != '\n' {
		begun++
	}
	if st.pos != 0 {
		begun--
	}
	st.pos = 0
	if p[len(p)-1] != '\n' {
		st.pos = c.next
	}
	for _, g := range []*Gap{&c.gap, &c.totals.Dropped} {
		g.Lines += begun
		g.Bytes += int64(len(p))
	}
}
