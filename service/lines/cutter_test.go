package lines

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Unix(0, 1136214245000000000)

const stamp = `"time":"1136214245000000000"`

// log collects what a Cutter makes, as a publisher and a reader would.
type log struct {
	*Cutter
	bodies []string
}

func newLog(cfg Config) *log { return &log{Cutter: NewCutter(cfg)} }

func (l *log) write(s Stream, text string) {
	for p := []byte(text); len(p) > 0; {
		p = p[l.Write(s, p, start):]
		if len(p) > 0 {
			l.take()
		}
	}
}

func (l *log) take() {
	for {
		body, ok := l.Next(nil)
		if !ok {
			return
		}
		l.bodies = append(l.bodies, string(body))
	}
}

func (l *log) finish() string {
	l.take()
	l.Finish(start)
	l.take()
	return strings.Join(l.bodies, "")
}

// short leaves out what is the same everywhere.
func short(records string) string { return strings.ReplaceAll(records, stamp+",", "") }

func TestRecords(t *testing.T) {
	o, e, flush := "o", "e", "flush"
	tests := []struct {
		name string
		cfg  Config
		do   []string // stream, text pairs, or "flush"
		want []string
	}{
		{"one line", Config{}, []string{o, "text\n"}, []string{`{"pos":1,"message":"text"}`}},
		{"standard error", Config{}, []string{e, "text\n"}, []string{`{"pos":1,"stream":"stderr","message":"text"}`}},
		{"nothing", Config{}, nil, nil},
		{"an empty line", Config{}, []string{o, "\n"}, []string{`{"pos":1,"message":""}`}},
		{"empty lines", Config{}, []string{o, "\n\n"}, []string{`{"pos":1,"messages":["",""]}`}},
		{"no newline at the end", Config{}, []string{o, "a\nb"}, []string{
			`{"pos":1,"message":"a"}`, `{"pos":2,"tag":"BOL","message":"b"}`}},
		{"lines read together", Config{}, []string{o, "a\nb\nc\n", o, "d\n"}, []string{
			`{"pos":1,"messages":["a","b","c"]}`, `{"pos":4,"message":"d"}`}},
		{"lines read together, of standard error", Config{}, []string{e, "a\nb\n"}, []string{
			`{"pos":1,"stream":"stderr","messages":["a","b"]}`}},
		{"one line a message", Config{Pack: 1}, []string{o, "a\nb\n"}, []string{
			`{"pos":1,"message":"a"}`, `{"pos":2,"message":"b"}`}},
		{"a line in two reads", Config{}, []string{o, "ab", o, "cd\ne\n"}, []string{`{"pos":1,"messages":["abcd","e"]}`}},
		{"escapes", Config{}, []string{o, "\"\\\b\f\r\t\x00\x1f\x7f/<>&\u2028é\n"}, []string{
			`{"pos":1,"message":"\"\\\b\f\r\t\u0000\u001f` + "\x7f/<>&\u2028é" + `"}`}},
		{"not UTF-8", Config{}, []string{o, "a\n", o, "\xff\xfe\n", o, "b\n"}, []string{
			`{"pos":1,"message":"a"}`, `{"pos":2,"message":"` + "\ufffd\ufffd" + `","raw":"//4="}`, `{"pos":3,"message":"b"}`}},
		{"not UTF-8 among others", Config{}, []string{o, "a\nb\n\xffc\nd\n"}, []string{
			`{"pos":1,"messages":["a","b"]}`, `{"pos":3,"message":"` + "\ufffd" + `c","raw":"/2M="}`, `{"pos":4,"message":"d"}`}},
		{"U+FFFD itself", Config{}, []string{o, "\ufffd\n"}, []string{`{"pos":1,"message":"` + "\ufffd" + `"}`}},
		{"as long as the width", Config{WidthRunes: 3}, []string{o, "abc\nabc", o, "\n"}, []string{
			`{"pos":1,"message":"abc"}`, `{"pos":2,"message":"abc"}`}},
		{"longer than the width", Config{WidthRunes: 3}, []string{o, "abcdefgh\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"abc"}`, `{"pos":1,"tag":"BOL","message":"def"}`, `{"pos":1,"message":"gh"}`}},
		{"width in runes", Config{WidthRunes: 2}, []string{o, "äöü\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"äö"}`, `{"pos":1,"message":"ü"}`}},
		{"width 1", Config{WidthRunes: 1}, []string{o, "a😀\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"a"}`, `{"pos":1,"message":"😀"}`}},
		{"a rune cut by a read", Config{}, []string{o, "a\xc3", o, "\xa4\n"}, []string{`{"pos":1,"message":"aä"}`}},
		{"a rune cut by a flush", Config{}, []string{o, "a\xc3", flush, o, "\xa4\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"a"}`, `{"pos":1,"message":"ä"}`}},
		{"a rune cut by the end", Config{}, []string{o, "a\xc3"}, []string{
			`{"pos":1,"tag":"BOL","message":"a` + "\ufffd" + `","raw":"YcM="}`}},
		{"a rune cut by the end, width 1", Config{WidthRunes: 1}, []string{o, "\xe2\x82"}, []string{
			`{"pos":1,"tag":"BOL","message":"` + "\ufffd" + `","raw":"4g=="}`,
			`{"pos":1,"tag":"BOL","message":"` + "\ufffd" + `","raw":"gg=="}`}},
		{"a newline that comes late", Config{}, []string{o, "a", flush, o, "\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"a"}`, `{"pos":1,"message":""}`}},
		{"a prompt and its answer", Config{}, []string{o, "a: ", flush, flush, o, "b\nc\nd\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"a: "}`, `{"pos":1,"message":"b"}`, `{"pos":2,"messages":["c","d"]}`}},
		{"two streams", Config{}, []string{o, "a\n", e, "b\n", o, "c\n"}, []string{
			`{"pos":1,"message":"a"}`, `{"pos":2,"stream":"stderr","message":"b"}`, `{"pos":3,"message":"c"}`}},
		{"pieces interleave", Config{}, []string{o, "a", flush, e, "b\n", o, "c\n"}, []string{
			`{"pos":1,"tag":"BOL","message":"a"}`, `{"pos":2,"stream":"stderr","message":"b"}`, `{"pos":1,"message":"c"}`}},
		{"a line has its number when it is out", Config{}, []string{o, "a", e, "b\n", o, "c\n"}, []string{
			`{"pos":1,"stream":"stderr","message":"b"}`, `{"pos":2,"message":"ac"}`}},
		{"control words are text", Config{}, []string{o, "EOF\nBOL\n"}, []string{`{"pos":1,"messages":["EOF","BOL"]}`}},
		{"output above the limit", Config{MaxBytes: 4}, []string{o, "ab\ncd\nef\n", e, "g"}, []string{
			`{"pos":1,"message":"ab"}`, `{"pos":2,"tag":"GAP","lines":3,"bytes":7}`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLog(test.cfg)
			for do := test.do; len(do) > 0; {
				switch do[0] {
				case flush:
					l.FlushOpen(start)
					do = do[1:]
					continue
				case o:
					l.write(Stdout, do[1])
				case e:
					l.write(Stderr, do[1])
				}
				do = do[2:]
			}
			got := strings.SplitAfter(short(l.finish()), "\n")
			want := strings.SplitAfter(strings.Join(append(test.want, ""), "\n"), "\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDropLeavesGap(t *testing.T) {
	l := newLog(Config{})
	l.write(Stdout, "a\nb")
	l.FlushOpen(start)
	l.Drop(true)
	l.write(Stdout, "b\nc\n")
	l.write(Stderr, "d")
	l.Drop(false)
	l.write(Stderr, "d\n")
	l.write(Stdout, "e\n")
	got := short(l.finish())
	want := `{"pos":1,"message":"a"}
{"pos":2,"tag":"BOL","message":"b"}
{"pos":3,"tag":"GAP","lines":2,"bytes":5}
{"pos":5,"stream":"stderr","message":"d"}
{"pos":6,"message":"e"}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	end := string(l.End(End{State: "COMPLETE"}, start))
	wantEnd := `{"pos":7,` + stamp + `,"tag":"EOF","state":"COMPLETE","exitCode":0,"lines":4,"bytes":7,"sha256":"` +
		l.Totals().SHA256 + `","dropped":2,"droppedBytes":5}` + "\n"
	if diff := cmp.Diff(wantEnd, end); diff != "" {
		t.Errorf("EOF (-want +got):\n%s", diff)
	}
}

func TestEndTellsHow(t *testing.T) {
	c := NewCutter(Config{})
	got := string(c.End(End{State: "FAILED", Reason: "signal", ExitCode: -1, Signal: "SIGKILL", Error: "it \"died\""}, start))
	want := `{"pos":1,` + stamp + `,"tag":"EOF","state":"FAILED","reason":"signal","exitCode":-1,"signal":"SIGKILL",` +
		`"error":"it \"died\"","lines":0,"bytes":0,` +
		`"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}` + "\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("EOF (-want +got):\n%s", diff)
	}
	long := c.End(End{State: "FAILED", Error: strings.Repeat("\x01ä", 10000)}, start)
	if len(long) > minMaxMessage {
		t.Errorf("EOF with a long error has %d bytes, want at most %d", len(long), minMaxMessage)
	}
}

// What is not taken packs with what follows, so that one message is in flight and one is being filled, and no more.
func TestWriteStopsAtOneMessage(t *testing.T) {
	c := NewCutter(Config{MaxMessage: minMaxMessage})
	line := []byte(strings.Repeat("x", 99) + "\n")
	wrote := 0
	for c.Write(Stdout, line, start) == len(line) {
		if wrote++; wrote > 1000 {
			t.Fatal("Write never stops")
		}
	}
	if n := c.Pending(); n > minMaxMessage {
		t.Errorf("%d bytes wait, want at most %d", n, minMaxMessage)
	}
	body, ok := c.Next(nil)
	if !ok || len(body) < minMaxMessage/2 {
		t.Fatalf("message of %d bytes (%v), want a full one", len(body), ok)
	}
	if n := c.Write(Stdout, line, start); n != len(line) {
		t.Errorf("after Next, Write took %d bytes, want %d", n, len(line))
	}
}

// check puts a log together again and compares it with what was written.
type check struct {
	sum  Sum
	text [2]bytes.Buffer
	end  *End
}

func (k *check) read(t interface {
	Helper()
	Fatal(...any)
}, body []byte) {
	t.Helper()
	err := Decode(body, func(r Record) error {
		k.sum.Add(r)
		k.end = r.End
		if r.End == nil && r.Gap == nil {
			k.text[r.Stream].Write(r.Text)
			if !r.Open {
				k.text[r.Stream].WriteByte('\n')
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBigOutputsComeBack(t *testing.T) {
	random := make([]byte, 8<<20/bigPart)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(random)
	var alternating [][2]string
	for i := range 4000 {
		alternating = append(alternating, [2]string{fmt.Sprintf("out %d\n", i), fmt.Sprintf("err %d\n", i)})
	}
	tests := []struct {
		name string
		out  []byte
		cfg  Config
	}{
		{"a million lines", bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 1_000_000/bigPart), Config{}},
		{"one line of 100 MiB", bytes.Repeat([]byte("x"), 100<<20/bigPart), Config{}},
		{"one wide line of 100 MiB", bytes.Repeat([]byte("äxyz"), 20<<20/bigPart), Config{WidthRunes: 1 << 30}},
		{"random bytes", random, Config{}},
		{"a million empty lines", bytes.Repeat([]byte("\n"), 1_000_000), Config{}},
		{"width 1", random[:1<<20/bigPart], Config{WidthRunes: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := NewCutter(test.cfg)
			var k check
			k.text[Stdout].Grow(len(test.out))
			var body []byte
			take := func() {
				var ok bool
				for body, ok = c.Next(body); ok; body, ok = c.Next(body) {
					if len(body) > DefaultMaxMessage {
						t.Fatalf("message of %d bytes", len(body))
					}
					k.read(t, body)
				}
			}
			for p := test.out; len(p) > 0; {
				p = p[c.Write(Stdout, p[:min(len(p), 256<<10)], start):]
				take()
			}
			c.Finish(start)
			take()
			k.read(t, c.End(End{State: "COMPLETE"}, start))
			if !bytes.Equal(k.text[Stdout].Bytes(), test.out) {
				t.Error("the text is not what was written")
			}
			if err := k.sum.Verify(k.end); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("alternating streams", func(t *testing.T) {
		l := newLog(Config{})
		var want [2]string
		for _, pair := range alternating {
			l.write(Stdout, pair[0])
			l.write(Stderr, pair[1])
			want[0] += pair[0]
			want[1] += pair[1]
		}
		var k check
		k.read(t, []byte(l.finish()))
		k.read(t, l.End(End{}, start))
		if k.text[0].String() != want[0] || k.text[1].String() != want[1] {
			t.Error("the text is not what was written")
		}
		if err := k.sum.Verify(k.end); err != nil {
			t.Error(err)
		}
	})
}
