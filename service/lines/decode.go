package lines

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// Decode calls each for every record of a message body, in order, one a line of output: a record of several lines becomes
// several. Text is valid only during the call. An error of each ends it and is returned as it is; records before a bad one
// have been given by then.
func Decode(body []byte, each func(Record) error) error {
	d := decoder{each: each}
	for len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		if len(line) == 0 {
			continue
		}
		d.given = 0
		if whole, err := d.quick(line); err != nil {
			return err
		} else if whole {
			continue
		}
		if err := d.full(line); err != nil {
			return err
		}
	}
	return nil
}

// decoder reads a record written the way this package does it, by hand, and leaves all others to encoding/json, which
// decides what a record means: the quick way takes no line that the full way understands differently.
type decoder struct {
	each  func(Record) error
	given int    // records of this line that each has had
	text  []byte // memory for a text that had escapes
	raw   []byte // memory for a decoded raw
}

// quick returns false where it meets what it doesn't know; it may have given some records by then.
func (d *decoder) quick(b []byte) (whole bool, err error) {
	var r Record
	var ok bool
	if b, ok = skip(b, `{"pos":`); !ok {
		return false, nil
	}
	if r.Pos, b, ok = number(b); !ok || r.Pos < 1 {
		return false, nil
	}
	if b, ok = skip(b, `,"time":"`); !ok {
		return false, nil
	}
	if r.TimeNanos, b, ok = number(b); !ok {
		return false, nil
	}
	if b, ok = skip(b, `",`); !ok {
		return false, nil
	}
	if b, ok = skip(b, `"stream":"stderr",`); ok {
		r.Stream = Stderr
	}
	if b, ok = skip(b, `"tag":"BOL",`); ok {
		r.Open = true
	}
	if b, ok = skip(b, `"message`); !ok {
		return false, nil
	}
	if b, ok = skip(b, `s":[`); ok && !r.Open {
		return d.quickLines(r, b)
	}
	if b, ok = skip(b, `":`); !ok {
		return false, nil
	}
	if r.Text, b, ok = d.quoted(b); !ok {
		return false, nil
	}
	if b, ok = skip(b, `,"raw":"`); ok {
		if r.Text, b, ok = d.base64(b); !ok {
			return false, nil
		}
	}
	if string(b) != "}" {
		return false, nil
	}
	return true, d.give(r)
}

// quickLines reads what follows `"messages":[`.
func (d *decoder) quickLines(r Record, b []byte) (whole bool, err error) {
	for {
		var ok bool
		if r.Text, b, ok = d.quoted(b); !ok || len(b) == 0 {
			return false, nil
		}
		// What is given can't be taken back, so the end is looked at first.
		last := b[0] == ']'
		if last && string(b) != "]}" || !last && b[0] != ',' {
			return false, nil
		}
		if err := d.give(r); err != nil || last {
			return true, err
		}
		r.Pos++
		b = b[1:]
	}
}

func (d *decoder) give(r Record) error {
	d.given++
	return d.each(r)
}

// quoted reads a JSON string. The text is part of b, or of d.text if it had escapes.
func (d *decoder) quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	b = b[1:]
	n := plain(b)
	if n < len(b) && b[n] == '"' {
		return b[:n], b[n+1:], utf8.Valid(b[:n])
	}
	return d.escaped(b, n)
}

// escaped is quoted for a string that has escapes after the first n bytes.
func (d *decoder) escaped(b []byte, n int) (text, rest []byte, ok bool) {
	out := d.text[:0]
	for {
		out = append(out, b[:n]...)
		b = b[n:]
		if len(b) > 0 && b[0] == '"' {
			d.text = out
			return out, b[1:], utf8.Valid(out)
		}
		c, size := unescape(b)
		if size == 0 {
			return nil, nil, false
		}
		out = append(out, c)
		b = b[size:]
		n = plain(b)
	}
}

// unescape reads an escape of one byte; size is 0 for one of another kind.
func unescape(b []byte) (c byte, size int) {
	if len(b) < 2 || b[0] != '\\' {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return b[1], 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	if len(b) < 6 || string(b[:4]) != `\u00` {
		return 0, 0
	}
	high, low := bytes.IndexByte([]byte(hexDigits), b[4]), bytes.IndexByte([]byte(hexDigits), b[5])
	if high < 0 || high > 7 || low < 0 {
		return 0, 0
	}
	return byte(high<<4 | low), 6
}

// base64 reads what follows `"raw":"`.
func (d *decoder) base64(b []byte) (text, rest []byte, ok bool) {
	n := plain(b)
	if n == len(b) || b[n] != '"' {
		return nil, nil, false
	}
	var err error
	if d.raw, err = base64.StdEncoding.AppendDecode(d.raw[:0], b[:n]); err != nil {
		return nil, nil, false
	}
	return d.raw, b[n+1:], true
}

func skip(b []byte, s string) (rest []byte, ok bool) {
	if len(b) < len(s) || string(b[:len(s)]) != s {
		return b, false
	}
	return b[len(s):], true
}

// number reads a number that is neither negative nor written with a leading zero.
func number(b []byte) (v int64, rest []byte, ok bool) {
	n := 0
	for n < len(b) && b[n]-'0' <= 9 {
		v = v*10 + int64(b[n]-'0')
		n++
	}
	// 18 digits can't overflow; 19 can, into a negative number only.
	if n == 0 || n > 19 || v < 0 || b[0] == '0' && n > 1 {
		return 0, nil, false
	}
	return v, b[n:], true
}
