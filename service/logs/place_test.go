package logs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/subjects"
)

// twoStreams writes n lines, every third to stderr, in messages of a few, and returns both texts.
func twoStreams(t *testing.T, w *Writer, n int) (text [2]string) {
	t.Helper()
	for i := range n {
		s := lines.Stdout
		if i%3 == 0 {
			s = lines.Stderr
		}
		line := fmt.Sprintf("line %d of %s\n", i+1, s)
		text[s] += line
		if err := w.Write(s, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// Every message says where it stands, also those that came through the spool, and the EOF record.
func TestMessagesSayWhereTheyStand(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.Lines.Pack = 7
	w := Open(cfg)
	twoStreams(t, w, 50)
	h.settled(w)
	h.stop()
	twoStreams(t, w, 50)
	w.Abandon(errClosed) // and the rest is sent by the next life
	h.start()
	if _, err := Resume(h.ctx(), cfg, done); err != nil {
		t.Fatal(err)
	}
	var sum lines.Sum
	messages := 0
	log := &stored{h.js, space.LogStream(), space.Log("web1", runID)}
	for seq := uint64(1); ; messages++ {
		m, err := log.at(h.ctx(), seq)
		if err != nil {
			break
		}
		if got := headOf(m.header); got != sum.Head() {
			t.Fatalf("message %d says %+v, want %+v", m.runnerSeq, got, sum.Head())
		}
		if err := lines.Decode(m.body, func(r lines.Record) error { sum.Add(r); return nil }); err != nil {
			t.Fatal(err)
		}
		seq = m.seq + 1
	}
	if messages < 16 || sum.Lines() != 100 {
		t.Errorf("%d messages, %d lines", messages, sum.Lines())
	}
}

// A log can be opened at a line, at a byte of what is wanted, and so many lines before its end, with and without headers.
func TestOpenInTheMiddle(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.Lines.Pack = 7
	w := Open(cfg)
	text := twoStreams(t, w, 300)
	h.close(w)
	old := space.Log("web1", "old")
	log := &stored{h.js, space.LogStream(), cfg.Subject}
	for seq := uint64(1); ; {
		m, err := log.at(h.ctx(), seq)
		if err != nil {
			break
		}
		copied := &nats.Msg{Subject: old, Data: m.body, Header: nats.Header{subjects.HeaderSeq: m.header[subjects.HeaderSeq]}}
		if _, err := h.js.PublishMsg(h.ctx(), copied, jetstream.WithRetryAttempts(0)); err != nil {
			t.Fatal(err)
		}
		seq = m.seq + 1
	}
	for _, subject := range []string{cfg.Subject, old} {
		for s, all := range text {
			for _, at := range []int{1, 2, len(all) / 2, len(all) - 1, len(all), len(all) + 5} {
				options := FollowOptions{Subject: subject, Streams: []lines.Stream{lines.Stream(s)}, FromByte: int64(at)}
				if got := follow(t, h.ctx(), h.js, options).text[s].String(); got != all[min(at, len(all)):] {
					t.Errorf("%s: %s from byte %d: got %d bytes, want %d: %.40q", subject, lines.Stream(s), at, len(got), len(all)-at, got)
				}
			}
			for _, tail := range []int{1, 10, 90, 5000} {
				options := FollowOptions{Subject: subject, Streams: []lines.Stream{lines.Stream(s)}, Tail: int64(tail)}
				whole := strings.SplitAfter(strings.TrimSuffix(all, "\n"), "\n")
				want := strings.Join(whole[max(len(whole)-tail, 0):], "") + "\n"
				if got := follow(t, h.ctx(), h.js, options).text[s].String(); got != want {
					t.Errorf("%s: the last %d of %s: got %.60q…, want %.60q…", subject, tail, lines.Stream(s), got, want)
				}
			}
		}
		o := follow(t, h.ctx(), h.js, FollowOptions{Subject: subject, Tail: 4})
		if got := o.text[0].String() + o.text[1].String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "line 297 ") {
			t.Errorf("%s: the last 4: got %q", subject, got)
		}
		o = follow(t, h.ctx(), h.js, FollowOptions{Subject: subject, FromPos: 299})
		if got := o.text[0].String() + o.text[1].String(); strings.Count(got, "\n") != 2 || o.result.End == nil {
			t.Errorf("%s: from line 299: got %q", subject, got)
		}
	}
}

// To open a long log near its end takes few reads, not all of it.
func TestOpenAtByteReadsLittle(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.Lines.Pack = 1
	w := Open(cfg)
	text := numbered(0, 3000)
	write(t, w, text)
	h.close(w)
	before := h.nc.Stats().InBytes
	o := follow(t, h.ctx(), h.js, FollowOptions{Subject: cfg.Subject, FromByte: int64(len(text) - 20)})
	if got := o.text[0].String(); got != text[len(text)-20:] {
		t.Errorf("got %q", got)
	}
	if read := h.nc.Stats().InBytes - before; read > 60_000 {
		t.Errorf("read %d bytes to show 20 of a log of %d messages", read, 3000)
	}
}
