package search

import (
	"bytes"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// A literal is a text that is in whatever an expression finds. A log is looked
// through for it as it is stored, and what does not have it is not read any further.
// The zero value is that of an expression that has none.
type literal struct {
	text []byte // in lower case, where fold
	fold bool   // ASCII letters are found in both cases

	at   int    // place in text of what is looked for first
	rare []byte // that: bytes that have no case, or one letter
}

// literalOf is the longest that an expression has.
func literalOf(expr string) literal {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return literal{}
	}
	return longest(re)
}

func longest(re *syntax.Regexp) (best literal) {
	switch re.Op {
	case syntax.OpLiteral:
		fold := re.Flags&syntax.FoldCase != 0
		var part []byte
		for _, r := range re.Rune {
			if !plainly(r, fold) {
				part = nil
				continue
			}
			if fold {
				r = unicode.ToLower(r)
			}
			part = utf8.AppendRune(part, r)
			if len(part) > len(best.text) {
				best = literal{text: part, fold: fold}
			}
		}
		best.begin()
	case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
		for _, sub := range re.Sub {
			if l := longest(sub); len(l.text) > len(best.text) {
				best = l
			}
		}
	}
	return best
}

// plainly says whether a character stands for itself in a stored log, whoever wrote
// it, and has no other case than ASCII's.
func plainly(r rune, fold bool) bool {
	if r < ' ' || r == '"' || r == '\\' || r == '/' || r == utf8.RuneError {
		return false
	}
	if !fold {
		return true
	}
	other := unicode.SimpleFold(r)
	return other == r || r < utf8.RuneSelf && other < utf8.RuneSelf && unicode.SimpleFold(other) == r
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// letters is which are seldom, the rarest first.
const letters = "zqjxkvbpygfwmucldrhsnioate"

// least is how long a part without letters must be to be better than a rare letter.
const least = 3

// begin chooses what to look for first: the longest part that has no case, since a
// processor finds that at once, or the rarest letter.
func (l *literal) begin() {
	if !l.fold {
		l.at, l.rare = 0, l.text
		return
	}
	for i := 0; i < len(l.text); {
		n := 0
		for i+n < len(l.text) && !isLetter(l.text[i+n]) {
			n++
		}
		if n > len(l.rare) {
			l.at, l.rare = i, l.text[i:i+n]
		}
		i += n + 1
	}
	if len(l.rare) >= least {
		return
	}
	for _, c := range []byte(letters) {
		if i := bytes.IndexByte(l.text, c); i >= 0 {
			l.at, l.rare = i, l.text[i:i+1]
			return
		}
	}
}

// in says whether a text has it.
func (l *literal) in(text []byte) bool {
	if len(l.text) == 0 {
		return true
	}
	if l.fold && isLetter(l.rare[0]) {
		return l.inEither(text, l.rare[0], l.rare[0]-0x20)
	}
	for from := 0; ; {
		i := bytes.Index(text[from:], l.rare)
		if i < 0 {
			return false
		}
		if l.is(text, from+i) {
			return true
		}
		from += i + 1
	}
}

// inEither looks for a letter in both cases.
func (l *literal) inEither(text []byte, low, high byte) bool {
	next := func(c byte, from int) int {
		if i := bytes.IndexByte(text[from:], c); i >= 0 {
			return from + i
		}
		return len(text)
	}
	for a, b := next(low, 0), next(high, 0); a < len(text) || b < len(text); {
		at := min(a, b)
		if l.is(text, at) {
			return true
		}
		if at == a {
			a = next(low, a+1)
		} else {
			b = next(high, b+1)
		}
	}
	return false
}

// is says whether it is where its rare part was found.
func (l *literal) is(text []byte, at int) bool {
	at -= l.at
	if at < 0 || at+len(l.text) > len(text) {
		return false
	}
	for i, want := range l.text {
		c := text[at+i]
		if c != want && !(l.fold && isLetter(want) && c == want-0x20) {
			return false
		}
	}
	return true
}
