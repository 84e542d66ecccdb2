package lines

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// chunks are what tends to go wrong, beside bytes of any kind.
var chunks = rapid.OneOf(
	rapid.SliceOfN(rapid.Byte(), 0, 40),
	rapid.Map(rapid.SampledFrom([]string{"\n", "\n\n", "a\n", "\r\n", "\"\\\n", "ä", "😀", "\xf0\x9f", "\x98\x80", "\xe2", "\x82\xac",
		"\xff", "\ufffd", "EOF\n", "BOL", "\x00", "\u2028", "\xed\xa0\x80", "\xc0\xaf"}), func(s string) []byte { return []byte(s) }),
	rapid.Map(rapid.IntRange(1, 3000), func(n int) []byte { return bytes.Repeat([]byte("x"), n) }),
	rapid.Map(rapid.IntRange(1, 3000), func(n int) []byte { return bytes.Repeat([]byte{1}, n) }),
	rapid.Map(rapid.IntRange(1, 300), func(n int) []byte { return bytes.Repeat([]byte("y\n"), n) }),
)

// Whatever is written, in whatever pieces, comes back; and each record keeps the rules.
func TestAnyOutputComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			WidthRunes: rapid.SampledFrom([]int{0, 1, 2, 3, 7, 80, 1 << 20}).Draw(t, "width"),
			Pack:       rapid.SampledFrom([]int{0, 0, 1, 2, 10}).Draw(t, "pack"),
			MaxMessage: rapid.SampledFrom([]int{0, minMaxMessage, 5000}).Draw(t, "maxMessage"),
		}
		lossy := rapid.Bool().Draw(t, "lossy")
		if lossy {
			cfg.MaxBytes = rapid.SampledFrom([]int64{0, 0, 1, 10, 1000}).Draw(t, "maxBytes")
		}
		p := &property{t: t, c: NewCutter(cfg), cfg: cfg}
		now := start
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			now = now.Add(time.Millisecond)
			switch rapid.IntRange(0, 12).Draw(t, "do") {
			case 0:
				p.c.FlushOpen(now)
				if p.c.HasOpen() {
					t.Fatal("something unfinished is left after FlushOpen")
				}
			case 1:
				p.take()
			case 2:
				p.c.Drop(lossy && !p.c.dropping)
			default:
				s := Stream(rapid.IntRange(0, 1).Draw(t, "stream"))
				p.write(s, chunks.Draw(t, "text"), now)
			}
		}
		p.c.Finish(now)
		p.take()
		p.finish(now, lossy)
	})
}

type property struct {
	t       *rapid.T
	c       *Cutter
	cfg     Config
	written [2][]byte
	k       check
	body    []byte
	invalid [2]bool
}

func (p *property) write(s Stream, text []byte, now time.Time) {
	p.written[s] = append(p.written[s], text...)
	for len(text) > 0 {
		text = text[p.c.Write(s, text, now):]
		if len(text) > 0 {
			p.take()
		}
	}
}

func (p *property) take() {
	var ok bool
	for p.body, ok = p.c.Next(p.body); ok; p.body, ok = p.c.Next(p.body) {
		p.check(p.body)
	}
}

func (p *property) check(body []byte) {
	maxMessage := p.c.maxMessage
	if len(body) == 0 || len(body) > maxMessage {
		p.t.Fatalf("message of %d bytes, want 1 to %d", len(body), maxMessage)
	}
	width := p.c.width
	n := 0
	for line := range bytes.Lines(body) {
		if line[len(line)-1] != '\n' || !json.Valid(line) || !utf8.Valid(line) {
			p.t.Fatalf("%q is not a line of JSON", line)
		}
		var w wire
		if err := json.Unmarshal(line, &w); err != nil {
			p.t.Fatalf("encoding/json can't read %q: %v", line, err)
		}
		want, err := w.records()
		if err != nil {
			p.t.Fatal(err)
		}
		if len(w.Messages) == 1 || p.cfg.Pack == 1 && w.Messages != nil {
			p.t.Fatalf("%q has the form for several lines", line)
		}
		err = Decode(line, func(r Record) error {
			n++
			if !equal(r, want[0]) {
				p.t.Fatalf("Decode and encoding/json differ: %+v and %+v", r, want[0])
			}
			want = want[1:]
			if utf8.RuneCount(r.Text) > width || len(r.Text) > MaxText {
				p.t.Fatalf("record of %d runes, %d bytes; width %d", utf8.RuneCount(r.Text), len(r.Text), width)
			}
			if !utf8.Valid(r.Text) {
				p.invalid[r.Stream] = true
			}
			again := 0
			if err := Decode(AppendJSON(nil, r), func(r2 Record) error {
				again++
				if !equal(r, r2) {
					p.t.Fatalf("AppendJSON of %+v reads as %+v", r, r2)
				}
				return nil
			}); err != nil || again != 1 {
				p.t.Fatalf("AppendJSON of %+v: %v, %d records", r, err, again)
			}
			return nil
		})
		if err != nil || len(want) > 0 {
			p.t.Fatalf("Decode: %v, %d records are missing", err, len(want))
		}
	}
	if p.cfg.Pack > 0 && n > p.cfg.Pack {
		p.t.Fatalf("%d lines in a message, want at most %d", n, p.cfg.Pack)
	}
	p.k.read(p.t, body)
}

func (p *property) finish(now time.Time, lossy bool) {
	totals := p.c.Totals()
	p.k.read(p.t, p.c.End(End{State: "COMPLETE"}, now))
	if err := p.k.sum.Verify(p.k.end); err != nil {
		p.t.Fatal(err)
	}
	if diff := totals != p.k.sum.Totals(); diff {
		p.t.Fatalf("totals: cutter %+v, reader %+v", totals, p.k.sum.Totals())
	}
	if got, want := totals.Bytes+totals.Dropped.Bytes, int64(len(p.written[0])+len(p.written[1])); got != want {
		p.t.Fatalf("%d bytes stored or dropped, want %d", got, want)
	}
	if p.cfg.MaxBytes > 0 && totals.Bytes > p.cfg.MaxBytes {
		p.t.Fatalf("%d bytes stored, want at most %d", totals.Bytes, p.cfg.MaxBytes)
	}
	if lossy {
		return
	}
	for s, want := range p.written {
		if got := p.k.text[s].Bytes(); !bytes.Equal(got, want) {
			p.t.Fatalf("%s: got %q, want %q", Stream(s), got, want)
		}
		if utf8.Valid(want) && p.invalid[s] {
			p.t.Fatalf("%s: a rune was cut", Stream(s))
		}
	}
}

func equal(a, b Record) bool {
	if (a.End == nil) != (b.End == nil) || a.End != nil && *a.End != *b.End {
		return false
	}
	if (a.Gap == nil) != (b.Gap == nil) || a.Gap != nil && *a.Gap != *b.Gap {
		return false
	}
	return a.Pos == b.Pos && a.TimeNanos == b.TimeNanos && a.Stream == b.Stream && a.Open == b.Open && bytes.Equal(a.Text, b.Text)
}
