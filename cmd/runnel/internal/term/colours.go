package term

import (
	"bytes"
	"unicode/utf8"
)

const (
	escape = 0x1b
	bell   = 0x07
	// resetColours ends what SGR sequences began.
	resetColours = "\x1b[0m"
)

// Line is a line of a program's output as it may stand among the lines of others on
// a terminal. Colours stay, and are closed at its end. What would move the cursor,
// clear the screen or set the terminal's title does not; of what returns to the
// beginning of the line, the last is shown.
func Line(text []byte) []byte {
	if i := bytes.LastIndexByte(bytes.TrimRight(text, "\r"), '\r'); i >= 0 {
		text = text[i+1:]
	}
	if bytes.IndexFunc(text, func(r rune) bool { return isControl(r) && r != '\t' }) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+len(resetColours))
	coloured := false
	for len(text) > 0 {
		if text[0] == escape {
			sequence := escapeSequence(text)
			if isColour(sequence) {
				out = append(out, sequence...)
				coloured = true
			}
			text = text[len(sequence):]
			continue
		}
		r, size := utf8.DecodeRune(text)
		if r == '\t' || !isControl(r) {
			out = append(out, text[:size]...)
		}
		text = text[size:]
	}
	if coloured {
		out = append(out, resetColours...)
	}
	return out
}

// isControl: C0, delete and C1. Bytes that are no UTF-8 are not among them: a
// terminal shows something in their place.
func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0
}

// escapeSequence is the sequence that text begins with, to its end or to the
// text's.
func escapeSequence(text []byte) []byte {
	if len(text) < 2 {
		return text
	}
	switch text[1] {
	case '[': // parameters, intermediates, one final byte
		for i := 2; i < len(text); i++ {
			switch {
			case text[i] >= 0x40 && text[i] <= 0x7e:
				return text[:i+1]
			case text[i] < 0x20 || text[i] > 0x3f:
				return text[:i] // not what it began as
			}
		}
		return text
	case ']', 'P', 'X', '^', '_': // a string, to a bell or to ESC \
		for i := 2; i < len(text); i++ {
			switch {
			case text[i] == bell:
				return text[:i+1]
			case text[i] == escape && i+1 < len(text) && text[i+1] == '\\':
				return text[:i+2]
			}
		}
		return text
	}
	for i := 1; i < len(text); i++ { // intermediates, one final byte
		if text[i] < 0x20 || text[i] > 0x2f {
			return text[:i+1]
		}
	}
	return text
}

// isColour says whether a sequence sets colours or the like: ESC [ numbers m.
func isColour(sequence []byte) bool {
	if len(sequence) < 3 || sequence[1] != '[' || sequence[len(sequence)-1] != 'm' {
		return false
	}
	return len(bytes.Trim(sequence[2:len(sequence)-1], "0123456789;:")) == 0
}
