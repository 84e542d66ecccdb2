package runlog

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/lines"
)

// What a request may want of a log, and what it may not.
func TestLinesWanted(t *testing.T) {
	for query, want := range map[string]string{
		"":                          "0 0 250 false 0",
		"from=7&limit=3":            "7 0 3 false 0",
		"tail=5":                    "0 5 1000 false 0",
		"tail=5000&whole=1":         "0 1000 1000 true 0",
		"stream=stderr":             "0 0 250 false 1",
		"from=0":                    "",
		"from=1&tail=1":             "",
		"limit=0":                   "",
		"limit=1001":                "",
		"stream=both":               "",
		"tail=99999999999999999999": "",
	} {
		l, err := readLinesWanted(httptest.NewRequest("GET", "/?"+query, nil))
		got := fmt.Sprint(l.FromPos, l.Tail, l.limit, l.whole, len(l.Streams))
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%s: %q, want %q (%v)", query, got, want, err)
		}
	}
}

// pieces of a log, put together.
func read(limit, most int, records ...lines.Record) *linesPage {
	l := &lineReader{page: &linesPage{}, limit: limit, most: most, open: map[int64]*Line{}}
	for _, r := range records {
		if l.record(r) != nil {
			break
		}
	}
	return l.page
}

func piece(pos int64, text string, open bool) lines.Record {
	return lines.Record{Pos: pos, Text: []byte(text), Open: open}
}

// A line is one, whatever the pieces that it came in, between those of others.
func TestPiecesAreOneLine(t *testing.T) {
	page := read(3, lineMost, piece(1, "a", true), piece(2, "x", true), piece(1, "b", true), piece(2, "y", false), piece(1, "c", false), piece(3, "z", true))
	var got []string
	for _, l := range page.Lines {
		got = append(got, fmt.Sprintf("%d %s %v", l.N, l.text, l.Open))
	}
	if s := strings.Join(got, ", "); s != "1 abc false, 2 xy false, 3 z true" {
		t.Errorf("%s", s)
	}
	if page.Next != 4 {
		t.Errorf("next is %d", page.Next)
	}
}

// The rest of a line that is on the page is waited for, new lines are not.
func TestPageEndsWithItsLastLine(t *testing.T) {
	page := read(1, lineMost, piece(1, "a", true), piece(2, "x", false), piece(1, "b", false), piece(3, "y", false))
	if len(page.Lines) != 1 || string(page.Lines[0].text) != "ab" {
		t.Errorf("%+v", page.Lines)
	}
}

// A long line is cut at its end and says by how much; one that rewrites itself
// keeps its end.
func TestLongLines(t *testing.T) {
	page := read(5, 10, piece(1, "0123456", true), piece(1, "789abc", true), piece(1, "def", false))
	if l := page.Lines[0]; string(l.text) != "0123456789" || l.Cut != 6 {
		t.Errorf("%q, %d are cut", l.text, l.Cut)
	}
	page = read(5, lineMost, piece(1, strings.Repeat("x", lineRewrite)+"\r", true), piece(1, "50 %\r", true), piece(1, "100 %", false))
	if l := page.Lines[0]; !strings.HasSuffix(string(l.text), "\r100 %") || len(l.text) > lineMost {
		t.Errorf("%.40q of %d bytes", l.text, len(l.text))
	}
}
