package logs

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/subjects"
)

// beginAtByte finds the sequence in the stream of the message that has the first byte that is wanted. A log whose messages
// don't say where they stand is read from its start.
func (f *follower) beginAtByte(ctx context.Context) (uint64, error) {
	placed := true
	m, err := f.log.find(ctx, func(m message) bool {
		head := headOf(m.header)
		placed = placed && head.Pos > 0
		_ = lines.Decode(m.body, func(r lines.Record) error { // reading it for good will say what can't be read
			if r.Gap == nil && r.End == nil {
				head.Bytes[r.Stream] += int64(len(r.Text))
				if !r.Open {
					head.Bytes[r.Stream]++
				}
			}
			return nil
		})
		return f.wanted(head.Bytes) > f.options.FromByte
	})
	switch {
	case !placed:
		f.next, f.whole = 1, true
		return 1, nil
	case errors.Is(err, errNotFound): // not there yet, or never; the last one may tell the end
		last, err := f.log.last(ctx)
		if errors.Is(err, errNotFound) {
			f.next, f.whole = 1, true
			return 1, nil
		}
		return last.seq, err
	case err != nil:
		return 0, err
	}
	f.result.Truncated = f.wanted(headOf(m.header).Bytes) > f.options.FromByte
	return m.seq, nil
}

// findTail turns Tail into FromPos: the line that so many lines of the wanted streams begin with, of those that are stored.
func (f *follower) findTail(ctx context.Context) error {
	if f.options.Tail <= 0 {
		return nil
	}
	err := patiently(ctx, f.log.js.Conn(), func() (err error) {
		if f.log, err = openStored(ctx, f.log.js, f.log.stream, f.log.subject); err == nil {
			f.options.FromPos, err = f.tail(ctx)
		}
		return err
	})
	if err != nil && !errors.Is(err, errNotFound) {
		return fmt.Errorf("cannot read the end of %s: %w", f.options.Subject, err)
	}
	return nil
}

func (f *follower) tail(ctx context.Context) (int64, error) {
	last, err := f.log.last(ctx)
	if err != nil {
		return 1, err
	}
	if !f.options.Live {
		f.until, f.result.last = last.seq, &last
	}
	_, end := span(last)
	for want := f.options.Tail; ; want *= 4 {
		from := max(end.Pos-want, 1)
		begins, err := f.lineBegins(ctx, from, last.seq)
		if err != nil {
			return 0, err
		}
		if n := int64(len(begins)); n >= f.options.Tail || from == 1 {
			// Where there are none, only what comes is wanted.
			return append(begins, end.Pos+1)[max(n-f.options.Tail, 0)], nil
		}
	}
}

// lineBegins lists the numbers of the lines of the wanted streams that begin at the line from or later, in messages up to
// the sequence until of the stream.
func (f *follower) lineBegins(ctx context.Context, from int64, until uint64) (begins []int64, err error) {
	var open [2]int64
	reader := newFollower(f.log, FollowOptions{Stream: f.log.stream, Subject: f.log.subject, FromPos: from, Streams: f.options.Streams}, func(r lines.Record) error {
		if r.Gap != nil || r.End != nil {
			return nil
		}
		if open[r.Stream] != r.Pos {
			begins = append(begins, r.Pos)
		}
		open[r.Stream] = 0
		if r.Open {
			open[r.Stream] = r.Pos
		}
		return nil
	})
	reader.until, reader.result.last = until, f.result.last
	_, err = reader.run(ctx)
	return begins, err
}

// formatBytes writes the header Runner-Bytes.
func formatBytes(n [2]int64) string {
	b := make([]byte, 0, 48)
	b = strconv.AppendInt(append(b, "stdout="...), n[lines.Stdout], 10)
	return string(strconv.AppendInt(append(b, " stderr="...), n[lines.Stderr], 10))
}

// headOf reads where a message stands in the log; Pos is 0 where it doesn't say so.
func headOf(h nats.Header) lines.Head {
	var head lines.Head
	pos, err := strconv.ParseInt(h.Get(subjects.HeaderPos), 10, 64)
	if err != nil || pos < 1 {
		return lines.Head{}
	}
	if n, err := fmt.Sscanf(h.Get(subjects.HeaderBytes), "stdout=%d stderr=%d", &head.Bytes[lines.Stdout], &head.Bytes[lines.Stderr]); err != nil || n != 2 {
		return lines.Head{}
	}
	head.Pos = pos
	return head
}
