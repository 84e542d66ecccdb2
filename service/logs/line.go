package logs

import (
	"context"
	"errors"

	"github.com/runnel-io/runnel/service/lines"
)

// beginAtLine finds the message that has the first line that is wanted. A log is
// not read for it: its messages have much the same number of lines, so it is guessed
// where one is.
func (f *follower) beginAtLine(ctx context.Context) (uint64, *message, error) {
	last, err := f.last(ctx)
	if errors.Is(err, errNotFound) { // not there yet
		return 1, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	end := reachOf(last)
	if end.last < f.options.FromPos { // not there yet, or never; it may tell the end
		return last.seq, &last, nil
	}
	first, err := f.log.at(ctx, 1)
	if err != nil {
		return 0, nil, err
	}
	begin := reachOf(first)
	if begin.last >= f.options.FromPos {
		f.result.Truncated = first.runnerSeq > 1 && begin.first > f.options.FromPos
		return first.seq, &first, nil
	}
	m, err := f.log.findLine(ctx, f.options.FromPos, gap{first.seq + 1, begin.last + 1, last, end})
	return m.seq, &m, err
}

// last is the last message of what is read.
func (f *follower) last(ctx context.Context) (message, error) {
	if f.result.last != nil {
		return *f.result.last, nil
	}
	return f.log.last(ctx)
}

// gap is where a line is looked for: in messages from a sequence of the stream on,
// the first of which has the line pos, and up to one that is known to reach it.
type gap struct {
	low  uint64
	pos  int64
	high message
	end  reach
}

// guesses is how often it is guessed before the rest is halved: a stream may have
// been written in any way, with messages of others between.
const guesses = 4

// findLine returns the first message that has a line or what comes after it.
func (s *stored) findLine(ctx context.Context, pos int64, g gap) (message, error) {
	top := g.high.seq
	for try := 0; g.low < top && !g.end.begins(pos); try++ {
		middle := g.low + (top-g.low)/2
		if try < guesses && g.end.first > g.pos {
			part := float64(pos-g.pos) / float64(g.end.first-g.pos)
			middle = g.low + uint64(max(0, min(part, 1))*float64(top-g.low))
			middle = min(middle, top-1)
		}
		m, err := s.at(ctx, middle)
		if err != nil {
			return message{}, err
		}
		if r := reachOf(m); r.last >= pos {
			g.high, g.end, top = m, r, middle
		} else {
			g.low, g.pos = m.seq+1, r.last+1
		}
	}
	return g.high, nil
}

// reach is what lines a message has.
type reach struct {
	first, last int64 // the number of its first record, and the highest
	from        int64 // from here on it has all up to last
}

// begins says whether no message before it has a line from a number on: those that
// it goes on with are two at most, one of each stream.
func (r reach) begins(pos int64) bool { return pos >= r.from+2 && pos <= r.last }

func reachOf(m message) (r reach) {
	// What can't be read ends the reach; reading it for good will say so.
	_ = lines.Decode(m.body, func(rec lines.Record) error {
		last := rec.Pos
		if rec.Gap != nil {
			last += max(rec.Gap.Lines-1, 0)
		}
		if r.first == 0 {
			r.first = rec.Pos
		}
		if r.last == 0 || rec.Pos > r.last+1 {
			r.from = rec.Pos
		}
		r.last = max(r.last, last)
		return nil
	})
	return r
}
