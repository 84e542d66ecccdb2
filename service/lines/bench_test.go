package lines

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// benchText is a read of the pipe: about 256 KiB of lines of 100 bytes.
func benchText(kind string) []byte {
	const lines = 2600
	switch kind {
	case "utf8":
		return bytes.Repeat([]byte(strings.Repeat("aé€", 16)+"abc\n"), lines)
	case "escaped":
		return bytes.Repeat([]byte(strings.Repeat("key=\"v\"\t\\", 11)+"\n"), lines)
	case "long":
		return bytes.Repeat([]byte("x"), lines*100)
	}
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "%-99d\n", i)
	}
	return b.Bytes()
}

var kinds = []string{"ascii", "utf8", "escaped", "long"}

// Cut, encode and hash, one read after the other.
func BenchmarkCutter(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			text := benchText(kind)
			c := NewCutter(Config{})
			now := time.Now()
			var body []byte
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for p := text; len(p) > 0; {
					p = p[c.Write(Stdout, p, now):]
					body, _ = c.Next(body)
				}
			}
			b.ReportMetric(float64(c.Totals().Lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// One line a read, as a quiet task prints them.
func BenchmarkCutterOneLine(b *testing.B) {
	text := []byte(strings.Repeat("x", 99) + "\n")
	c := NewCutter(Config{})
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		c.Write(Stdout, text, time.Unix(0, c.totals.Lines))
		body, _ = c.Next(body)
	}
}

func benchBody(kind string) []byte {
	c := NewCutter(Config{})
	c.Write(Stdout, benchText(kind), time.Now())
	body, _ := c.Next(nil)
	return body
}

// Read and check: numbers, counts and hash.
func BenchmarkDecodeAndCheck(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			body := benchBody(kind)
			var s Sum
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				s.Begin(1)
				if err := Decode(body, func(r Record) error { s.Add(r); return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.Lines())/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			body := benchBody(kind)
			lines := 0
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Decode(body, func(Record) error { lines++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

func BenchmarkEncodeText(b *testing.B) {
	for _, kind := range kinds[:3] {
		b.Run(kind, func(b *testing.B) {
			line := bytes.TrimSpace(benchText(kind)[:100])
			var dst []byte
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				dst = appendEscaped(dst[:0], line)
			}
		})
	}
}
