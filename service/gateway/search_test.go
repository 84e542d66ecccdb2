package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// Places are those of lines as a terminal shows them, in the order of the lines,
// and the last word is the count.
func TestSearch(t *testing.T) {
	w := open(t)
	id := w.run(`{"command":"for i in $(seq 500); do echo line $i; done; printf 'an \\033[1mer\\033[0mror\\n'; echo '\u00e4\ud83d\ude00 Error'; head -c 3000 /dev/zero | tr '\\0' x; echo error; printf 'no newline error'; sleep 0.5; echo 'error: error' >&2","wait":"20s"}`)
	search := func(query string) (hits []string, last string) {
		t.Helper()
		res, text := w.do("GET", "/api/v1/runs/"+id+"/log/search?"+query, "", bearer(t))
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%s: %d %s", query, res.StatusCode, text)
		}
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			var h struct {
				Pos, Start, End, Times int
				Stream                 string
				Done                   *bool
			}
			if err := json.Unmarshal([]byte(line), &h); err != nil {
				t.Fatal(err)
			}
			if h.Done == nil {
				hits = append(hits, fmt.Sprintf("%d%s:%d-%d*%d", h.Pos, h.Stream, h.Start, h.End, h.Times))
			}
			last = line
		}
		return hits, last
	}
	hits, last := search("q=ERROR")
	// Standard error may have come before or after its neighbours; in the long line the pieces are one.
	found := map[string]bool{}
	for _, h := range hits {
		_, rest, _ := strings.Cut(strings.Replace(h, "stderr", ":stderr", 1), ":")
		found[rest] = true
	}
	for _, want := range []string{"3-8*1", "stderr:0-5*2", "4-9*1", "3000-3005*1", "11-16*1"} {
		if !found[want] {
			t.Errorf("%s is not among %v", want, hits)
		}
	}
	if len(hits) != 5 || !strings.Contains(last, `"lines":5,"matches":6,"upto":505,"done":true`) {
		t.Errorf("%v, %s", hits, last)
	}
	for query, want := range map[string]string{
		"q=line+1$&regex=1":         "[1:0-6*1]",
		"q=line+499":                "[499:0-8*1]",
		"q=Line&case=1":             "[]",
		"q=line+1&from=100&limit=2": "[100:0-6*1 101:0-6*1]",
		"q=" + url.QueryEscape("^line (7|8)$") + "&regex=true": "[7:0-6*1 8:0-6*1]",
		"q=.*":                            "[]",
		"q=" + url.QueryEscape("\x1b[1m"): "[]",
	} {
		if hits, _ := search(query); fmt.Sprint(hits) != want {
			t.Errorf("%s: %v, want %s", query, hits, want)
		}
	}
	if _, last := search("q=line&limit=3"); !strings.Contains(last, `"lines":501,"matches":501`) || !strings.Contains(last, `"cut":true`) {
		t.Errorf("cut: %s", last)
	}
	for query, code := range map[string]int{"": 400, "q=": 400, "q=(&regex=1": 400, "q=x&from=0": 400, "q=x&limit=x": 400, "q=" + strings.Repeat("x", 1001): 400} {
		if res, text := w.do("GET", "/api/v1/runs/"+id+"/log/search?"+query, "", bearer(t)); res.StatusCode != code || !strings.HasPrefix(text, `{"error":"`) {
			t.Errorf("%.40s: %d %s", query, res.StatusCode, text)
		}
	}
	if res, _ := w.do("GET", "/api/v1/runs/nosuch/log/search?q=x", "", bearer(t)); res.StatusCode != 404 {
		t.Errorf("unknown: %d", res.StatusCode)
	}
}
