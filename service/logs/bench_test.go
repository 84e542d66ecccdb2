package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/lines"
)

// benchLines is how many lines of 100 bytes a benchmark's run prints.
const benchLines = 1_000_000

func benchText() []byte { return []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 2600)) }

// flood writes a run's output in reads of 256 KiB.
func flood(b *testing.B, h *host, id string) {
	b.Helper()
	cfg := h.config(h.js)
	cfg.Subject = space.Log("web1", id)
	w := Open(cfg)
	text := benchText()
	for n := 0; n < benchLines; n += 2600 {
		if err := w.Write(lines.Stdout, text); err != nil {
			b.Fatal(err)
		}
	}
	h.close(w)
}

func rate(b *testing.B) {
	b.ReportMetric(benchLines*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// A million lines, stored.
func BenchmarkWriter(b *testing.B) {
	h := newHost(b)
	n := 0
	for b.Loop() {
		n++
		flood(b, h, fmt.Sprint("bench", n))
	}
	rate(b)
}

// A million lines, stored and checked by a client meanwhile.
func BenchmarkWriterFollowedLive(b *testing.B) {
	h := newHost(b)
	nc, js := h.connect(h.srv.URL())
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprint("bench", n)
		sub, err := Listen(nc, space.LogAny(id))
		if err != nil {
			b.Fatal(err)
		}
		options := h.options()
		options.Subject, options.Live, options.Fresh = space.Log("web1", id), true, sub
		finished := make(chan FollowResult)
		go func() {
			result, err := Follow(h.ctx(), js, options, func(lines.Record) error { return nil })
			if err != nil {
				b.Error(err)
			}
			finished <- result
		}()
		flood(b, h, id)
		if result := <-finished; !result.Verified {
			b.Fatalf("%+v", result)
		}
	}
	rate(b)
}

// A million lines, read again and checked.
func BenchmarkFollowPast(b *testing.B) {
	h := newHost(b)
	flood(b, h, runID)
	for b.Loop() {
		result, err := Follow(h.ctx(), h.js, h.options(), func(lines.Record) error { return nil })
		if err != nil || !result.Verified {
			b.Fatalf("%+v, %v", result, err)
		}
	}
	rate(b)
}

// From a line that is read to its record at a client.
func BenchmarkLag(b *testing.B) {
	h := newHost(b)
	nc, _ := h.connect(h.srv.URL())
	sub, err := nc.SubscribeSync(space.LogAny(runID))
	if err != nil {
		b.Fatal(err)
	}
	w := Open(h.config(h.js))
	line := []byte(strings.Repeat("x", 99) + "\n")
	for b.Loop() {
		if err := w.Write(lines.Stdout, line); err != nil {
			b.Fatal(err)
		}
		if _, err := sub.NextMsg(5 * time.Second); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	h.close(w)
}
