package search

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lines"
)

// find is what a search says of records: a line for each place, and the count.
func find(t *testing.T, query string, records ...lines.Record) string {
	t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	what, opts, err := read(q)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	f := &finder{query: what, most: opts.most, out: json.NewEncoder(&out), flush: func() error { return nil }, said: time.Now().Add(time.Hour)}
	for _, r := range records {
		if err := f.record(r); err != nil {
			t.Fatal(err)
		}
	}
	for s := range f.open {
		if err := f.finish(lines.Stream(s)); err != nil {
			t.Fatal(err)
		}
	}
	said := []string{}
	d := json.NewDecoder(strings.NewReader(out.String()))
	for d.More() {
		var h hit
		if err := d.Decode(&h); err != nil {
			t.Fatal(err)
		}
		said = append(said, fmt.Sprintf("%d%s %d-%d x%d", h.Pos, h.Stream, h.Start, h.End, h.Times))
	}
	return strings.Join(append(said, fmt.Sprintf("%d of %d up to %d %v", f.count.Matches, f.count.Lines, f.count.Upto, f.count.Cut)), ", ")
}

func whole(pos int64, text string) lines.Record { return lines.Record{Pos: pos, Text: []byte(text)} }

func open(pos int64, text string) lines.Record {
	return lines.Record{Pos: pos, Text: []byte(text), Open: true}
}

func onStderr(r lines.Record) lines.Record { r.Stream = lines.Stderr; return r }

func TestFind(t *testing.T) {
	for _, c := range []struct {
		query   string
		records []lines.Record
		want    string
	}{
		{"q=o", []lines.Record{whole(1, "one"), whole(2, "two"), whole(3, "six")}, "1 0-1 x1, 2 2-3 x1, 2 of 2 up to 3 false"},
		{"q=O", []lines.Record{whole(1, "oO0")}, "1 0-1 x2, 2 of 1 up to 1 false"},
		{"q=O&case=1", []lines.Record{whole(1, "oO0")}, "1 1-2 x1, 1 of 1 up to 1 false"},
		{"q=.", []lines.Record{whole(1, "a.b")}, "1 1-2 x1, 1 of 1 up to 1 false"},
		{"q=^.b&regex=true", []lines.Record{whole(1, "abab"), whole(2, "xab")}, "1 0-2 x1, 1 of 1 up to 2 false"},
		{"q=error", []lines.Record{onStderr(whole(4, "an Error"))}, "4stderr 3-8 x1, 1 of 1 up to 4 false"},
		{"q=x", []lines.Record{whole(1, "größer 🎉 x")}, "1 10-11 x1, 1 of 1 up to 1 false"}, // in UTF-16
		{"q=red", []lines.Record{whole(1, "a \x1b[31mr\x1b[1med\x1b[0m")}, "1 2-5 x1, 1 of 1 up to 1 false"},
		{"q=nothing", nil, "0 of 0 up to 0 false"},
		{"q=a&limit=2", []lines.Record{whole(1, "a"), whole(2, "a"), whole(3, "aa")}, "1 0-1 x1, 2 0-1 x1, 4 of 3 up to 3 true"},
		// A line in pieces, between those of the other stream.
		{"q=needle", []lines.Record{open(1, "a nee"), onStderr(open(2, "need")), whole(1, "dle"), onStderr(whole(2, "le"))}, "1 2-8 x1, 2stderr 0-6 x1, 2 of 2 up to 2 false"},
		{"q=ab", []lines.Record{open(1, "a"), open(1, "b"), whole(1, "")}, "1 0-2 x1, 1 of 1 up to 1 false"},
		{"q=ab", []lines.Record{open(1, "a"), whole(2, "b")}, "0 of 0 up to 2 false"},
		{"q=end", []lines.Record{open(7, "never an end")}, "7 9-12 x1, 1 of 1 up to 7 false"},
		// What is no text is passed over.
		{"q=E", []lines.Record{{Pos: 3, End: &lines.End{State: "COMPLETE"}}, {Pos: 2, Gap: &lines.Gap{Lines: 5}}}, "0 of 0 up to 0 false"},
	} {
		if got := find(t, c.query, c.records...); got != c.want {
			t.Errorf("%s in %v: %s, want %s", c.query, c.records, got, c.want)
		}
	}
}

// A line without an end is searched as far as it is kept.
func TestFindInALongLine(t *testing.T) {
	piece := strings.Repeat("x", maxLine/2)
	if got := find(t, "q=y", open(1, piece), open(1, piece+"y"), whole(1, "y")); got != "0 of 0 up to 1 false" {
		t.Errorf("behind the end: %s", got)
	}
	if got := find(t, "q=y", open(1, "y"+piece), open(1, piece), whole(1, piece)); got != "1 0-1 x1, 1 of 1 up to 1 false" {
		t.Errorf("at the beginning: %s", got)
	}
}

// The count is sent now and then, not with each line.
func TestCountIsSaid(t *testing.T) {
	what, _, err := read(url.Values{"q": {"nowhere"}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	flushed := 0
	f := &finder{query: what, most: 1, out: json.NewEncoder(&out), flush: func() error { flushed++; return nil }, said: time.Now().Add(-time.Hour)}
	for i := range 3 {
		if err := f.record(whole(int64(i+1), "x")); err != nil {
			t.Fatal(err)
		}
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); flushed == 0 || first != `{"lines":0,"matches":0,"upto":1,"done":false}` {
		t.Errorf("%d times: %s", flushed, out.String())
	}
}

func TestWhatIsNoSearch(t *testing.T) {
	for query, want := range map[string]string{
		"":                                     "q: what to search for has 0 bytes, and must have 1 to 1000",
		"q=" + strings.Repeat("x", maxQuery+1): "q: what to search for has 1001 bytes, and must have 1 to 1000",
		"q=x&from=0":                           `from: "0" is not a number from 1`,
		"q=x&from=-1":                          `from: "-1" is not a number from 1`,
		"q=x&limit=x":                          `limit: "x" is not a number from 1`,
		"q=x&limit=99999999999999999999":       `limit: "99999999999999999999" is not a number from 1`,
		"q=(&regex=1":                          "q: error parsing regexp: missing closing ): `(?i)(`",
		"q=" + url.QueryEscape(`(?P<a`) + "&regex=t": "q: error parsing regexp: invalid named capture: `(?P<a`",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(q); err == nil || err.Error() != want {
			t.Errorf("%.40s: %v, want %s", query, err, want)
		}
	}
	for query, want := range map[string]options{"q=x": {1, maxHits}, "q=x&from=7&limit=3": {7, 3}, "q=x&limit=99999": {1, maxHits}, "q=(": {1, maxHits}} {
		q, _ := url.ParseQuery(query)
		if _, opts, err := read(q); err != nil || opts != want {
			t.Errorf("%s: %+v, %v, want %+v", query, opts, err, want)
		}
	}
}
