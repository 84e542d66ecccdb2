package lines

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// escapes says what JSON does with a byte of a string: 0 leaves it as it is, 'u' writes \u00xx, another value follows a
// backslash.
var escapes = func() (t [256]byte) {
	for c := range 0x20 {
		t[c] = 'u'
	}
	t['\b'], t['\f'], t['\n'], t['\r'], t['\t'] = 'b', 'f', 'n', 'r', 't'
	t['"'], t['\\'] = '"', '\\'
	return t
}()

// appendEscaped appends text, which is UTF-8, as the inside of a JSON string.
func appendEscaped(dst, text []byte) []byte {
	for {
		n := plain(text)
		dst = append(dst, text[:n]...)
		if n == len(text) {
			return dst
		}
		dst = appendEscape(dst, text[n])
		text = text[n+1:]
	}
}

// appendReplaced is appendEscaped for text that is not UTF-8: it has U+FFFD for each byte that isn't.
func appendReplaced(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r < utf8.RuneSelf && escapes[r] != 0 {
			dst = appendEscape(dst, byte(r))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		text = text[size:]
	}
	return dst
}

func appendEscape(dst []byte, c byte) []byte {
	if e := escapes[c]; e != 'u' {
		return append(dst, '\\', e)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// plain returns how many bytes at the start of b stand for themselves in a JSON string. It looks at eight bytes at a
// time: of those below 0x80, taking n away sets the top bit of the ones that are below n.
func plain(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote := x ^ '"'*ones
		slash := x ^ '\\'*ones
		stop := ((x - ' '*ones) | (quote - ones) | (slash - ones)) &^ x & tops
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for i < len(b) && escapes[b[i]] == 0 {
		i++
	}
	return i
}

// prefix returns the longest prefix of b that has at most maxRunes runes and maxBytes bytes and cuts no rune, in bytes and
// runes. A byte that is not UTF-8 counts as a rune.
func prefix(b []byte, maxRunes, maxBytes int) (n, runes int) {
	for n < len(b) && runes < maxRunes {
		size := 1
		if b[n] >= utf8.RuneSelf {
			_, size = utf8.DecodeRune(b[n:])
		}
		if n+size > maxBytes {
			break
		}
		n += size
		runes++
	}
	return n, runes
}

// cutRune returns how many bytes at the end of b are the beginning of a rune whose rest may follow.
func cutRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
