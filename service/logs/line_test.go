package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/lines"
)

// uneven writes a log whose messages are of very different sizes, with lines of both streams that go on over
// several of them, and messages of another log between.
func uneven(t *testing.T, h *host) (subject string, count int64) {
	t.Helper()
	cfg := h.config(h.js)
	other := h.config(h.js)
	other.Subject = space.Log("web1", "other")
	w, between := Open(cfg), Open(other)
	put := func(s lines.Stream, text string) {
		if err := w.Write(s, []byte(text)); err != nil {
			t.Fatal(err)
		}
		h.settled(w)
	}
	for i := range 12 {
		put(lines.Stdout, strings.Repeat(fmt.Sprintf("block %d\n", i), 1+i*i%17))
		put(lines.Stderr, "begins ")
		put(lines.Stdout, "half ")
		if i%3 == 0 {
			put(lines.Stdout, "whole\nnext\n")
		}
		put(lines.Stderr, "ends\n")
		write(t, between, strings.Repeat("other\n", 1+i%4))
		h.settled(between)
	}
	h.close(w)
	h.close(between)
	o := follow(t, h.ctx(), h.js, FollowOptions{Subject: cfg.Subject})
	return cfg.Subject, o.result.End.Lines
}

var errStop = errors.New("enough")

// firstFrom is the first record that a reader gets who begins at a line.
func firstFrom(ctx context.Context, h *host, options FollowOptions) (pos int64, err error) {
	_, err = Follow(ctx, h.js, options, func(r lines.Record) error {
		pos = r.Pos
		return errStop
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return pos, err
}

// A log of any shape is opened at each of its lines: all that is wanted comes, and nothing else.
func TestOpenAtEachLine(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	subject, count := uneven(t, h)
	type record struct {
		pos  int64
		text string
	}
	read := func(options FollowOptions) (all []record) {
		t.Helper()
		options.Stream, options.Subject = space.LogStream(), subject
		res, err := Follow(h.ctx(), h.js, options, func(r lines.Record) error {
			all = append(all, record{r.Pos, fmt.Sprint(r.Stream, r.Open, string(r.Text))})
			return nil
		})
		if err != nil || res.Truncated || res.Missing > 0 || res.End == nil {
			t.Fatalf("from line %d: %+v, %v", options.FromPos, res, err)
		}
		return all
	}
	whole := read(FollowOptions{})
	for from := int64(2); from <= count+3; from++ {
		var want []record
		for _, r := range whole {
			if r.pos >= from || r.pos == count+1 { // the end comes always
				want = append(want, r)
			}
		}
		if got := read(FollowOptions{FromPos: from, Sparing: from%5 == 0}); !slices.Equal(got, want) {
			t.Fatalf("from line %d: got %v, want %v", from, got, want)
		}
		pos, err := firstFrom(h.ctx(), h, FollowOptions{Subject: subject, FromPos: from})
		if wanted := min(from, count+1); err != nil || pos != wanted {
			t.Fatalf("from line %d: the first is %d, want %d: %v", from, pos, wanted, err)
		}
	}
	h.noConsumers()
}

// To open a long log at a line takes a few reads, and no consumer where one message has all that is wanted.
func TestOpenAtLineReadsLittle(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cfg := h.config(h.js)
	cfg.Lines.Pack = 10
	w := Open(cfg)
	write(t, w, numbered(0, 20_000))
	h.close(w)
	for _, from := range []int64{5000, 11, 19_990, 12_345} {
		before := h.nc.Stats().OutMsgs
		pos, err := firstFrom(h.ctx(), h, FollowOptions{Stream: space.LogStream(), Subject: cfg.Subject, FromPos: from})
		if err != nil || pos != from {
			t.Errorf("from line %d: the first is %d: %v", from, pos, err)
		}
		if asked := h.nc.Stats().OutMsgs - before; asked > 10 {
			t.Errorf("from line %d: %d requests", from, asked)
		}
	}
}

// What is passed over is not read, its end is; such a log is complete, and not verified.
func TestPassOver(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tenTimesTen(h)
	options := h.options()
	passed := 0
	options.Pass = func(body []byte) bool {
		passed++
		return !strings.Contains(string(body), "line 35")
	}
	var got []int64
	res, err := Follow(h.ctx(), h.js, options, func(r lines.Record) error { got = append(got, r.Pos); return nil })
	if err != nil || len(got) != 11 || got[0] != 31 || got[10] != 101 {
		t.Errorf("got lines %v, %v", got, err)
	}
	if passed != 10 || res.Verified || !res.Complete || res.Problem != nil || res.End == nil {
		t.Errorf("asked %d times; %+v", passed, res)
	}
	if tip := res.Tip(); tip.Next != 101 || !tip.Ended || tip.Bytes[lines.Stdout] != int64(len(numbered(0, 100))) {
		t.Errorf("the tip: %+v", tip)
	}
}

// Reading ends with what was stored when it began, and the tip says where that is: who follows from there has nothing
// twice, and misses nothing.
func TestReadingEndsAtItsTip(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := Open(h.config(h.js))
	write(t, w, numbered(0, 20))
	h.settled(w)
	next := int64(21)
	for _, options := range []FollowOptions{{}, {Tail: 3}, {FromPos: 5}, {FromPos: 20}, {Tail: 100}, {FromPos: 500}} {
		options.Stream, options.Subject = space.LogStream(), space.Log("web1", runID)
		var last lines.Record
		res, err := Follow(h.ctx(), h.js, options, func(r lines.Record) error {
			if last.Pos == 0 { // more comes while it is read
				write(t, w, "more\n")
				h.settled(w)
			}
			last = r
			return nil
		})
		tip := res.Tip()
		if err != nil || tip.Next != next || last.Pos > 0 && last.Pos != next-1 {
			t.Errorf("%+v: the last line is %d, the tip %+v, want %d next; %v", options, last.Pos, tip, next, err)
		}
		if last.Pos > 0 {
			next++
		}
	}
	h.close(w)
}
