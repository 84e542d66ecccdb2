package search

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lines"
)

// What every text has that an expression finds, and what is looked for first.
func TestLiteralOf(t *testing.T) {
	for expr, want := range map[string]string{
		"error":            "error",
		"(?i)Error":        "error, either case, first r",
		"(?i)disk full":    " full, either case, first f", // Kelvin's sign is a k, a long s is an s
		"(?i)code=1234":    "code=1234, either case, first =1234",
		"a.*longer":        "longer",
		"^line (7|8)$":     "line ",
		"(abc)+d":          "abc",
		"abc|abd":          "ab",
		"(abc)?":           "",
		"x{3}":             "",
		".*":               "",
		"[ab]c":            "c",
		`say "hi" now`:     "say ",
		`a/b\\cde`:         "cde",
		"(?i)größer":       "gr, either case, first g",
		"größer":           "größer",
		"(?i)日本":           "日本, either case, first 日本",
		"(?i)1日":           "1日, either case, first 1日",
		"a\tbc":            "bc",
		"(":                "",
		"\x1b\\[1m":        "[1m",
		"(?i)0000999 text": "0000999 text, either case, first 0000999 ",
	} {
		l := literalOf(expr)
		got := string(l.text)
		if l.fold {
			got += ", either case, first " + string(l.rare)
		} else if string(l.rare) != got || l.at != 0 {
			t.Errorf("%q: %q is not looked for as it is", expr, got)
		}
		if got != want || l.fold && string(l.text[l.at:l.at+len(l.rare)]) != string(l.rare) {
			t.Errorf("%q: %q, want %q", expr, got, want)
		}
	}
}

// No expression finds anything in a text without its literal.
func TestLiteralIsNecessary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string, n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(from[r.IntN(len(from))])
		}
		return b.String()
	}
	letters := []string{"a", "A", "e", "E", "k", "K", "\u212a", "s", "S", "\u017f", "1", "0", " ", "ö", "Ö", "ß", "日", "/", `"`, `\`, "\xff"}
	atoms := []string{"a", "E", "k", "S", "10", " ", "ö", "日", "/", ".", ".*", "a+", "(ab|A)", "[aE]", "k?", "(?:ae)", "(?i:a)", "e{2}"}
	found := 0
	for range 20000 {
		expr := pick(atoms, 1+r.IntN(4))
		if r.IntN(2) == 0 {
			expr = "(?i)" + expr
		}
		what := regexp.MustCompile(expr)
		l := literalOf(expr)
		text := []byte(pick(letters, r.IntN(12)))
		if what.Match(text) {
			found++
			if !l.in(text) {
				t.Fatalf("%q finds something in %q, where %q (fold %t) is not", expr, text, l.text, l.fold)
			}
		}
	}
	if found < 2000 {
		t.Errorf("only %d of the texts match anything", found)
	}
}

func TestLiteralIn(t *testing.T) {
	for _, c := range []struct {
		expr, text string
		want       bool
	}{
		{"(?i)abc", "xxaBCxx", true}, {"(?i)abc", "ABC", true}, {"(?i)abc", "ab c", false}, {"(?i)abc", "", false},
		{"(?i)abc", "bbbbbbabc", true}, {"(?i)abc", "aabbcc", false}, {"(?i)abc", "BbBbABc", true},
		{"abc", "ABC", false}, {"abc", "aabcc", true},
		{"(?i)a1", "A1", true}, {"(?i)a1", "11111a", false}, {"(?i)1a", "1111A", true},
		{`(?i)\[x`, "{X", false}, // neighbours of letters have no case
	} {
		l := literalOf(c.expr)
		if got := l.in([]byte(c.text)); got != c.want {
			t.Errorf("%q in %q: %t", c.expr, c.text, got)
		}
	}
	none := literal{}
	if !none.in(nil) {
		t.Error("an expression without a literal may find anything")
	}
}

// searched is what a search of messages says, as the log's reader gives them.
func searched(t *testing.T, expr string, bodies ...string) (hits []int64, last count, passed int) {
	t.Helper()
	q, opts, err := read(url.Values{"q": {expr}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	f := &finder{query: q, most: opts.most, out: json.NewEncoder(&out), flush: func() error { return nil }, said: time.Now()}
	for _, body := range bodies {
		if f.pass([]byte(body)) {
			passed++
		} else if err := lines.Decode([]byte(body), f.record); err != nil {
			t.Fatal(err)
		}
	}
	f.upto()
	for s := range f.open {
		if err := f.finish(lines.Stream(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.say(); err != nil {
		t.Fatal(err)
	}
	for _, text := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var h hit
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			t.Fatal(err)
		}
		if h.Pos > 0 {
			hits = append(hits, h.Pos)
		}
	}
	return hits, f.count, passed
}

// A message that can't have it is passed over whole; one whose bytes may stand for others is read.
func TestMessagesArePassedOver(t *testing.T) {
	const plain = `{"pos":1,"time":"1","messages":["nothing here","and here"]}` + "\n"
	for _, c := range []struct {
		what   string
		bodies []string
		hits   int
		passed int
		upto   int64
	}{
		{"none has it", []string{plain}, 0, 1, 2},
		{"the second has it", []string{plain, `{"pos":3,"time":"1","message":"a NEEDLE"}`}, 1, 1, 3},
		{"in two lines it is not it", []string{`{"pos":1,"time":"1","messages":["a nee","dle"]}`}, 0, 1, 2},
		{"a line goes on in the next message", []string{`{"pos":1,"time":"1","tag":"BOL","message":"a nee"}`, `{"pos":1,"time":"1","message":"dle"}`}, 1, 0, 1},
		{"and not in this one", []string{`{"pos":1,"time":"1","tag":"BOL","message":"a nee"}`, `{"pos":1,"time":"1","message":"d"}`, plain[:0] + `{"pos":2,"time":"1","message":"dle"}`}, 0, 1, 2},
		{"escape sequences are between", []string{`{"pos":1,"time":"1","message":"nee\u001b[1mdle"}`}, 1, 0, 1},
		{"another writer's escapes", []string{`{"pos":1,"time":"1","message":"n\u0065edle"}`}, 1, 0, 1},
		{"a raw line", []string{`{"pos":1,"time":"1","message":"needl\ufffd","raw":"bmVlZGxl"}`}, 1, 0, 1},
		{"a gap is no line", []string{`{"pos":5,"time":"1","tag":"GAP","lines":3,"bytes":9}`}, 0, 1, 0},
	} {
		hits, last, passed := searched(t, "needle", c.bodies...)
		if len(hits) != c.hits || passed != c.passed || last.Upto != c.upto {
			t.Errorf("%s: %d hits, %d passed over, up to %d; want %d, %d, %d", c.what, len(hits), passed, last.Upto, c.hits, c.passed, c.upto)
		}
	}
}

// How far it is is told although nothing is read.
func TestProgressWithoutReading(t *testing.T) {
	var out bytes.Buffer
	f := &finder{query: query{regexp.MustCompile("needle"), literalOf("needle")}, most: 1, out: json.NewEncoder(&out), flush: func() error { return nil }}
	for i := range 3 {
		f.said = time.Time{}
		if body := strings.Replace(`{"pos":1,"time":"1","messages":["a","b"]}`, "1", string(rune('1'+2*i)), 1); !f.pass([]byte(body)) {
			t.Fatal("it was read")
		}
	}
	if got := strings.Count(out.String(), `"upto":`); got != 3 || !strings.Contains(out.String(), `"upto":4,`) {
		t.Errorf("%s", out.String())
	}
}

func BenchmarkLiteral(b *testing.B) {
	text := []byte(strings.Repeat(strings.Repeat("0", 90)+" text\",\"", 5000))
	for _, expr := range []string{"(?i)00000000999997 text", "(?i)error", "(?i)text x", "error"} {
		l := literalOf(expr)
		b.Run(expr, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				l.in(text)
			}
		})
	}
}
