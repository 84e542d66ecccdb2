package term

import (
	"bytes"
	"testing"
)

func TestLinesOfPrograms(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"plain":             {"hello\tworld ü", "hello\tworld ü"},
		"colour closed":     {"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"},
		"colour left open":  {"\x1b[1;38;5;208mbold", "\x1b[1;38;5;208mbold\x1b[0m"},
		"true colour":       {"\x1b[38:2::1:2:3mx", "\x1b[38:2::1:2:3mx\x1b[0m"},
		"cursor up":         {"a\x1b[2Ab", "ab"},
		"screen cleared":    {"\x1b[2J\x1b[Hgone", "gone"},
		"line erased":       {"x\x1b[Ky", "xy"},
		"cursor hidden":     {"\x1b[?25lx", "x"},
		"other screen":      {"\x1b[?1049hx", "x"},
		"mouse, not colour": {"\x1b[<0;1;1mx", "x"},
		"title by bell":     {"\x1b]0;mine\x07x", "x"},
		"title by ST":       {"\x1b]0;mine\x1b\\x", "x"},
		"device string":     {"\x1bPq#0\x1b\\x", "x"},
		"title left open":   {"x\x1b]0;mine", "x"},
		"charset":           {"\x1b(0x\x1b(B", "x"},
		"reset":             {"\x1bcx", "x"},
		"saved cursor":      {"\x1b7x\x1b8", "x"},
		"progress":          {"10%\r50%\r100%", "100%"},
		"DOS":               {"line\r", "line"},
		"backspace, bell":   {"a\bb\x07c\x00d\x7f", "abcd"},
		"C1":                {"a\u009b2Jb", "a2Jb"},
		"half a sequence":   {"x\x1b[3", "x"},
		"escape alone":      {"x\x1b", "x"},
		"no UTF-8":          {"\xff\xfe\x1b[31mx", "\xff\xfe\x1b[31mx\x1b[0m"},
		"nothing":           {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(Line([]byte(test.text))); got != test.want {
				t.Errorf("%q: got %q, want %q", test.text, got, test.want)
			}
		})
	}
}

// Whatever a program prints, nothing but colours is left that a terminal obeys.
func FuzzLine(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b]0;t\x07\x1b[2J"))
	f.Add([]byte("\x1b\x1b[\x1b[m"))
	f.Fuzz(func(t *testing.T, text []byte) {
		left := Line(text)
		for len(left) > 0 {
			i := bytes.IndexByte(left, escape)
			if i < 0 {
				break
			}
			sequence := escapeSequence(left[i:])
			if !isColour(sequence) {
				t.Fatalf("%q leaves %q", text, sequence)
			}
			left = left[i+len(sequence):]
		}
		if bytes.ContainsAny(left, "\r\b\x07") {
			t.Fatalf("%q leaves control characters: %q", text, left)
		}
	})
}
