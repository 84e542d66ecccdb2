package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/tests/rig"
)

type linesPage struct {
	First, Next int64
	At          string
	Bytes       [2]int64
	End         *struct {
		Tag, SHA256 string
		Lines       int64
	}
	Lines []struct {
		N       int64
		T, S    string
		Text    string
		Cut, CR int64
		Open    bool
		At      string
		Gap     *struct{ Lines, Bytes int64 }
	}
}

func (p linesPage) String() string {
	var b strings.Builder
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "%d%s:%.12s ", l.N, strings.TrimPrefix(l.S, "std"), l.Text)
	}
	return strings.TrimSpace(b.String())
}

// TestLines: a log's lines by their numbers, each whole however many records it has.
func TestLines(t *testing.T) {
	w := open(t)
	w.apply("pipelines:\n  lines:\n    tasks:\n      a: {script: ['" +
		`seq 1 5; printf "half"; sleep 0.5; echo err >&2; sleep 0.5; echo " whole"; head -c 9000 /dev/zero | tr "\0" x; echo; ` +
		`for i in $(seq 1 3000); do printf "%05d percent\r" $i; done; echo; printf "\377bad\n"; echo last` + "']}\n")
	id := w.schedule(`{"pipeline":"lines"}`)
	w.ended(id)
	path := "/api/v1/runs/" + id + "-1/lines"
	read := func(query string) (p linesPage) {
		t.Helper()
		w.get(path+query, &p)
		return p
	}

	all := read("")
	if got := all.String(); got != "1:1 2:2 3:3 4:4 5:5 6:half whole 7err:err 8:xxxxxxxxxxxx 9:\r"+"02"+all.Lines[8].Text[3:12]+" 10:\uFFFDbad 11:last" && len(all.Lines) != 11 {
		t.Errorf("%s", got)
	}
	if all.First != 1 || all.Next != 12 || all.End == nil || all.End.Tag != "EOF" || all.End.Lines != 11 || all.Bytes[1] != 4 {
		t.Errorf("%+v", all)
	}
	if l := all.Lines[5]; l.Text != "half whole" || l.Open {
		t.Errorf("a line in pieces: %+v", l)
	}
	if l := all.Lines[7]; len(l.Text) != 4096 || l.Cut != 9000-4096 {
		t.Errorf("a long line: %d bytes and %d more", len(l.Text), l.Cut)
	}
	if l := all.Lines[8]; !strings.HasSuffix(l.Text, "03000 percent\r") || len(l.Text) > 17<<10 || l.CR+int64(strings.Count(l.Text, "\r")) != 3000 {
		t.Errorf("a line that is rewritten: %d bytes, %d times before, ends with %q", len(l.Text), l.CR, l.Text[len(l.Text)-20:])
	}
	if l := read("?from=8&limit=1&whole=1").Lines[0]; len(l.Text) != 9000 || l.Cut != 0 {
		t.Errorf("the whole line: %d bytes and %d more", len(l.Text), l.Cut)
	}
	for query, want := range map[string]string{
		"?from=4&limit=3":                       "4:4 5:5 6:half whole",
		"?from=11":                              "11:last",
		"?from=99":                              "",
		"?tail=2":                               "10:\uFFFDbad 11:last",
		"?stream=stderr":                        "7err:err",
		"?stream=stderr&from=8":                 "",
		"?limit=2&stream=stdout&from=6&limit=2": "6:half whole 8:xxxxxxxxxxxx",
	} {
		if got := read(query); got.String() != want || got.Next != 12 {
			t.Errorf("lines%s: %s, next %d; want %s", query, got, got.Next, want)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?from=0", "?stream=x"} {
		if res, text := w.do("GET", path+query, "", bearer(t)); res.StatusCode != 400 || !strings.HasPrefix(text, `{"error":`) {
			t.Errorf("lines%s: %d %s", query, res.StatusCode, text)
		}
	}
	if res, _ := w.do("GET", "/api/v1/runs/nosuch/lines", "", bearer(t)); res.StatusCode != 404 {
		t.Errorf("unknown: %d", res.StatusCode)
	}
}

// TestLinesOfARunThatGoesOn: an answer says where it ends, and an event stream from there has the rest.
func TestLinesOfARunThatGoesOn(t *testing.T) {
	w := open(t)
	w.apply("pipelines:\n  waits:\n    tasks:\n      a: {script: ['echo one; printf two; sleep 100']}\n")
	id := w.schedule(`{"pipeline":"waits"}`)
	var p linesPage
	rig.Eventually(t, "two lines are there", func() bool {
		res, _ := w.do("GET", "/api/v1/runs/"+id+"-1", "", bearer(t))
		if res.StatusCode != 200 {
			return false
		}
		p = linesPage{}
		w.get("/api/v1/runs/"+id+"-1/lines", &p)
		return len(p.Lines) == 2
	})
	if l := p.Lines[1]; !l.Open || l.At != p.At || p.End != nil || p.Next != 3 {
		t.Errorf("%+v", p)
	}
}

// The page is at the root, and an address of the API that is not there is not the page's.
func TestPage(t *testing.T) {
	w := open(t)
	for path, want := range map[string]int{"/": 200, "/runs/x": 200, "/nosuch": 404, "/api/v1/nosuch": 404, "/pipelines": 401} {
		res, text := w.do("GET", path, "")
		if res.StatusCode != want || (want == 200) != strings.Contains(text, "<!doctype html>") {
			t.Errorf("%s: %d %.60s", path, res.StatusCode, text)
		}
		if want == 200 && (res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Referrer-Policy") != "no-referrer") {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
}
