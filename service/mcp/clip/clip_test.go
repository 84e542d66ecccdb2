package clip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// written is a text that came in pieces of a size.
func written(text string, size, head, tail int) *Text {
	c := &Text{HeadMax: head, TailMax: tail}
	for at := 0; at < len(text); at += size {
		n, err := c.Write([]byte(text[at:min(at+size, len(text))]))
		if err != nil || n != min(size, len(text)-at) {
			panic(fmt.Sprint(n, err))
		}
	}
	return c
}

// What is kept does not depend on the pieces in which it came.
func TestCut(t *testing.T) {
	lines := ""
	for i := range 1000 {
		lines += fmt.Sprintf("line %d\n", i)
	}
	for _, c := range []struct {
		text             string
		headMax, tailMax int
		limit            int
		head, tail       string
		cut              int64
	}{
		{"", 10, 10, 100, "", "", 0},
		{"short", 10, 10, 100, "short", "", 0},
		{"in both parts", 5, 10, 100, "in both parts", "", 0},
		{"0123456789", 3, 3, 100, "012", "789", 4},
		{"0123456789", 10, 10, 4, "01", "89", 6},
		{"0123456789", 100, 100, 4, "01", "89", 6},
		{"aaaaü!", 5, 5, 100, "aaaaü!", "", 0}, // a character that is in both parts
		{"0123456789", 10, 0, 4, "0123", "", 6},
		{"0123456789", 0, 4, 4, "", "6789", 6},
		{"one\ntwo\nthree\nfour\n", 10, 10, 20, "one\ntwo\nth", "hree\nfour\n", -1},
		{lines, 20, 20, 40, "line 0\nline 1\n", "line 998\nline 999\n", -1},
		{strings.Repeat("ü", 100), 11, 11, 100, strings.Repeat("ü", 5), strings.Repeat("ü", 5), 180},
		{"a\xffb" + strings.Repeat("x", 20), 3, 3, 100, "a\uFFFDb", "xxx", 17},
	} {
		for _, size := range []int{1, 2, 7, 1000, 1 << 20} {
			got := written(c.text, size, c.headMax, c.tailMax)
			if got.Total != int64(len(c.text)) || got.Size() > c.headMax+c.tailMax {
				t.Errorf("%.20q by %d: %d of %d are kept", c.text, size, got.Size(), got.Total)
			}
			head, tail, cut := got.Cut(c.limit)
			if c.cut < 0 { // where exactly it is cut is told by what is kept
				if !strings.HasPrefix(c.text, head) || !strings.HasSuffix(c.text, tail) || cut != int64(len(c.text)-len(head)-len(tail)) || len(head)+len(tail) > c.limit {
					t.Errorf("%.20q by %d: %q and %q, %d are cut", c.text, size, head, tail, cut)
				}
				continue
			}
			if head != c.head || tail != c.tail || cut != c.cut {
				t.Errorf("%.20q by %d: %q and %q, %d are cut; want %q and %q, %d", c.text, size, head, tail, cut, c.head, c.tail, c.cut)
			}
		}
	}
}

// Long texts are cut at lines where that costs little.
func TestCutAtLines(t *testing.T) {
	lines := strings.Repeat("0123456\n", 1000)
	head, tail, cut := written(lines, 100, 100, 100).Cut(1000)
	if !strings.HasSuffix(head, "\n") || !strings.HasPrefix(tail, "0123456\n") || len(head) < 90 || len(tail) < 90 || cut != int64(len(lines)-len(head)-len(tail)) {
		t.Errorf("%q and %q, %d are cut", head, tail, cut)
	}
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{{"", 0, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"äöü", 3, "ä…"}, {"a🎉", 3, "a…"}, {"a🎉b", 5, "a🎉…"}, {"\xff\xffx", 2, "\uFFFD…"}} {
		if got := Short(c.text, c.most); got != c.want || !utf8.ValidString(got) {
			t.Errorf("%q in %d: %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

// Who needs less leaves the rest to the others.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		limit int
		want  []int
	}{
		{nil, 100, []int{}},
		{[]int{10}, 100, []int{10}},
		{[]int{500}, 100, []int{100}},
		{[]int{500, 500}, 100, []int{50, 50}},
		{[]int{10, 500}, 100, []int{10, 90}},
		{[]int{500, 10, 30}, 100, []int{60, 10, 30}},
		{[]int{500, 0, 500, 0}, 100, []int{50, 0, 50, 0}},
		{[]int{5, 5, 5}, 0, []int{0, 0, 0}},
	} {
		if got := Shares(c.sizes, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%v of %d: %v, want %v", c.sizes, c.limit, got, c.want)
		}
	}
}
