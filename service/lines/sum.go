package lines

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// digest hashes text in record order. It gathers what comes in small pieces, since a call of the hash costs as much as
// a short line.
type digest struct {
	hash hash.Hash
	buf  []byte
}

const digestBufBytes = 4096

func (d *digest) add(text []byte, newline bool) {
	if len(d.buf)+len(text)+1 > digestBufBytes {
		d.flush()
		if len(text) >= digestBufBytes {
			d.hash.Write(text)
			text = nil
		}
	}
	if d.buf == nil {
		d.buf = make([]byte, 0, digestBufBytes)
	}
	d.buf = append(d.buf, text...)
	if newline {
		d.buf = append(d.buf, '\n')
	}
}

func (d *digest) flush() {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.hash.Write(d.buf)
	d.buf = d.buf[:0]
}

func (d *digest) hex() string {
	d.flush()
	return hex.EncodeToString(d.hash.Sum(nil))
}

// A Sum adds up records and checks that they are a whole log: give it every record in order, then ask Verify. The zero
// value begins with line 1.
type Sum struct {
	next    int64    // pos of the next new line, less one, so that the zero value is right
	open    [2]int64 // pos of the unfinished line of a stream, 0 for none
	lines   int64
	bytes   [2]int64 // of each stream
	dropped Gap
	digest  digest
	ended   bool
	err     error // the first inconsistency
}

// Begin makes a Sum go on from the line pos, for a log whose head is gone.
func (s *Sum) Begin(pos int64) { s.next = pos - 1 }

// Add takes the next record.
func (s *Sum) Add(r Record) {
	if s.ended {
		s.fail("a record follows the EOF record")
	}
	open := &s.open[r.Stream]
	switch {
	case r.End != nil:
		s.expect(r.Pos)
		s.ended = true
		return
	case r.Gap != nil:
		s.expect(r.Pos)
		s.next += r.Gap.Lines
		s.dropped.Lines += r.Gap.Lines
		s.dropped.Bytes += r.Gap.Bytes
		s.open = [2]int64{}
		return
	case *open == 0:
		s.expect(r.Pos)
		s.next++
		s.lines++
	case r.Pos != *open:
		s.fail("line %d of %s is unfinished, but line %d follows", *open, r.Stream, r.Pos)
	}
	*open = 0
	size := int64(len(r.Text))
	if r.Open {
		*open = r.Pos
	} else {
		size++
	}
	s.bytes[r.Stream] += size
	s.digest.add(r.Text, !r.Open)
}

func (s *Sum) expect(pos int64) {
	if pos != s.next+1 {
		s.fail("line %d is expected, but line %d follows", s.next+1, pos)
		s.next = pos - 1
	}
}

func (s *Sum) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// Lines returns how many lines were added, unfinished ones included.
func (s *Sum) Lines() int64 { return s.lines }

// Bytes returns how many bytes of text were added, newlines included.
func (s *Sum) Bytes() int64 { return s.bytes[Stdout] + s.bytes[Stderr] }

// Head tells where a message that begins with the next new line stands in the log.
func (s *Sum) Head() Head { return Head{Pos: s.NextPos(), Bytes: s.bytes} }

// SHA256 returns the hash of the text, in hex.
func (s *Sum) SHA256() string { return s.digest.hex() }

// NextPos returns the number that a new line would have.
func (s *Sum) NextPos() int64 { return s.next + 1 }

// Totals returns what was added.
func (s *Sum) Totals() Totals {
	return Totals{Lines: s.lines, Bytes: s.Bytes(), SHA256: s.SHA256(), Dropped: s.dropped}
}

// End returns the body of the EOF record that belongs after what was added.
func (s *Sum) End(end End, nanos int64) []byte {
	return endBody(end, s.Totals(), Record{Pos: s.NextPos(), TimeNanos: nanos})
}

// Verify says whether what was added is what the EOF record tells.
func (s *Sum) Verify(end *End) error {
	switch {
	case s.err != nil:
		return s.err
	case end.Lines != s.lines:
		return fmt.Errorf("EOF tells of %d lines, got %d", end.Lines, s.lines)
	case end.Bytes != s.Bytes():
		return fmt.Errorf("EOF tells of %d bytes, got %d", end.Bytes, s.Bytes())
	case end.Dropped != s.dropped:
		return fmt.Errorf("EOF tells of %d lines dropped, got %d", end.Dropped.Lines, s.dropped.Lines)
	case end.SHA256 != s.SHA256():
		return fmt.Errorf("EOF tells of sha256 %s, got %s", end.SHA256, s.SHA256())
	}
	return nil
}

// endBody is the one way an EOF record is made.
func endBody(end End, t Totals, r Record) []byte {
	end.Lines, end.Bytes, end.SHA256, end.Dropped = t.Lines, t.Bytes, t.SHA256, t.Dropped
	end.Error = shorten(end.Error)
	r.End = &end
	return AppendJSON(nil, r)
}

func shorten(s string) string {
	if len(s) <= maxErrorBytes {
		return s
	}
	n, _ := prefix([]byte(s), maxErrorBytes, maxErrorBytes-len("…"))
	return s[:n] + "…"
}
