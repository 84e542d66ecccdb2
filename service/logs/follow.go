package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
)

// FollowOptions say what Follow reads. Subject is required.
type FollowOptions struct {
	Stream  string // found by the subject if empty; both come from the run's record
	Subject string

	// Where to begin: at most one of these. All but Since are found without reading from the start; FromByte needs messages
	// that say where they stand (Runner-Bytes), and reads a log of an older runner from its start.
	FromPos  int64  // first line that is wanted; ≤ 1: all
	FromByte int64  // bytes of the text of Streams to leave out, as they are stored; the first record is cut to fit
	FromSeq  uint64 // Runner-Seq of the first message that is wanted; ≤ 1: all
	Tail     int64  // only so many last lines of Streams, of those that are stored now; 0: all

	Since   time.Time      // only records read at this time or later, by the runner's clock
	Streams []lines.Stream // only their text; empty: both
	Live    bool           // wait for the end; else return after what is stored now

	// Sparing holds one message at a time, whatever the reader's pace, and is slower: each is asked for. It is not for Live.
	Sparing bool

	// Ahead, if set, is shared by the readers of the connection.
	Ahead *Ahead

	// Pass, if set, is asked before a message's records are read, but those of the end: it is passed over if none of them
	// is wanted. A log that was passed over in part is not verified.
	Pass func(body []byte) bool

	// Message, if set, is called before the records of each message.
	Message func(runnerSeq uint64)

	// Fresh was opened before the run was asked for: then nothing has to be set up to follow it. Follow closes it.
	Fresh *Fresh

	// Final tells whether the run's record is final: a run that was lost has no EOF record. It is asked only after some time
	// without output. An error counts as no.
	Final func(context.Context) (bool, error)
}

// FollowResult tells what a log was like.
type FollowResult struct {
	End *lines.End // how the run ended; nil: there is no EOF record (yet)

	// Complete: from where it began, every message up to the EOF record was there.
	Complete bool
	// Verified: it began with line 1, and numbers, counts and hash are what the EOF record says.
	Verified bool
	// Truncated: the beginning of what was asked for has been removed by the stream's limits.
	Truncated bool
	// Missing counts messages that should have been between others.
	Missing uint64
	// Problem says in words why a log that has ended is not complete or not verified; nil if it is, or if only a part was
	// asked for.
	Problem error

	last *message // the last one that there was, when it was looked for
}

// Tip says how far the log went when reading began. It is known without Live, but for a log that has nothing.
func (r FollowResult) Tip() Tip {
	if r.last == nil {
		return Tip{}
	}
	return tipOf(*r.last)
}

var (
	errNoEnd     = errors.New("the run is over, but its log has no EOF record")
	errTruncated = errors.New("the beginning of the log has been removed")
	errDiffers   = errors.New("output was shown that is not in the log: the runner died before it was stored")
)

// Follow gives every record of a run's log to each, in order and once, one a line, the EOF record included. With Live it
// returns when the run has ended, else when it has given all that is stored. It holds out while the server is away. An error
// of each, which may be nil, ends it and is returned.
func Follow(ctx context.Context, js jetstream.JetStream, options FollowOptions, each func(lines.Record) error) (FollowResult, error) {
	f := newFollower(&stored{js, options.Stream, options.Subject}, options, each)
	return f.run(ctx)
}

// follower reads one log. One goroutine uses it.
type follower struct {
	options FollowOptions
	log     *stored
	each    func(lines.Record) error
	until   uint64 // sequence in the stream after which to stop; 0: none

	next     uint64 // Runner-Seq of the next message; 0: whichever comes
	after    uint64 // sequence in the stream of the last message that was read there
	whole    bool   // it began with line 1
	sum      *lines.Sum
	streams  [2]bool
	offset   int64 // bytes of the wanted streams before the next record; counted for FromByte only
	result   FollowResult
	turn     int       // bytes of records since others had theirs
	consumer *consumer // nil while the fresh subscription is read
}

func newFollower(log *stored, options FollowOptions, each func(lines.Record) error) *follower {
	if each == nil {
		each = func(lines.Record) error { return nil }
	}
	f := &follower{options: options, log: log, each: each, sum: new(lines.Sum)}
	f.whole = options.Fresh != nil || options.FromPos <= 1 && options.FromByte <= 0 && options.FromSeq <= 1 && options.Tail <= 0 && options.Since.IsZero()
	if f.whole {
		f.next = 1
	}
	f.streams = [2]bool{len(options.Streams) == 0, len(options.Streams) == 0}
	for _, s := range options.Streams {
		f.streams[s&1] = true
	}
	return f
}

// errBehind turns from the fresh subscription, or from a consumer that is no more, to a new consumer.
var errBehind = errors.New("messages are missing")

// errDone ends the reading.
var errDone = errors.New("done")

func (f *follower) run(ctx context.Context) (FollowResult, error) {
	defer f.closeConsumer()
	if err := f.findTail(ctx); err != nil {
		return f.result, err
	}
	err := errBehind
	if f.options.Fresh != nil {
		err = f.read(ctx, f.options.Fresh.next)
		f.options.Fresh.Close()
	}
	for errors.Is(err, errBehind) {
		if err = f.openConsumer(ctx); err == nil {
			err = f.read(ctx, f.consumer.next)
		}
	}
	if !errors.Is(err, errDone) {
		return f.result, err
	}
	f.conclude()
	return f.result, nil
}

// read takes messages from a source until there is a reason to stop.
func (f *follower) read(ctx context.Context, next func(context.Context) (message, error)) error {
	reconnects := f.log.js.Conn().Stats().Reconnects
	watch := newIdle(ctx)
	defer watch.stop()
	for {
		m, err := next(watch.ctx)
		if err == nil {
			watch.busy()
			if err := f.take(m); err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if f.log.js.Conn().IsClosed() {
			return fmt.Errorf("cannot follow %s: %w", f.options.Subject, nats.ErrConnectionClosed)
		}
		if !errors.Is(err, context.DeadlineExceeded) || f.log.js.Conn().Stats().Reconnects != reconnects {
			return errBehind
		}
		if !watch.over() {
			continue
		}
		if err := f.look(ctx); err != nil {
			return err
		}
	}
}

// take gives the records of a message to each, unless it had them.
func (f *follower) take(m message) error {
	if m.seq != 0 {
		f.after = m.seq
	}
	switch {
	case m.runnerSeq == 0: // not the runner's
		return f.stopAt(m)
	case f.next == 0:
		f.next = m.runnerSeq
	case m.runnerSeq < f.next:
		// Published again, or the plain subscription showed it first. Only the runner that closes a log for one
		// that died can have put something else in this place.
		if end := m.end(); end != nil {
			f.result.End, f.result.Problem = end, errDiffers
			return errDone
		}
		return f.stopAt(m)
	case m.runnerSeq > f.next && f.consumer == nil:
		return errBehind
	case m.runnerSeq > f.next && f.next == 1:
		f.result.Truncated = true
		f.whole = false
	case m.runnerSeq > f.next:
		f.result.Missing += m.runnerSeq - f.next
		f.whole = false
	}
	f.next = m.runnerSeq + 1
	if f.options.FromByte > 0 {
		if head := headOf(m.header); head.Pos > 0 {
			f.offset = f.wanted(head.Bytes)
		}
	}
	if f.options.Message != nil {
		f.options.Message(m.runnerSeq)
	}
	if f.options.Pass != nil && !bytes.Contains(m.body, []byte(`"EOF"`)) && f.options.Pass(m.body) {
		f.whole = false
		return f.stopAt(m)
	}
	if err := lines.Decode(m.body, f.record); err != nil {
		return err
	}
	return f.stopAt(m)
}

func (f *follower) stopAt(m message) error {
	if f.until != 0 && m.seq >= f.until {
		return errDone
	}
	return nil
}

// turnBytes of records take a processor for a fifth of a millisecond or so.
const turnBytes = 8 << 10

// giveWay lets others have their turn: many readers of floods keep all processors, each for as long as the scheduler lets
// it, which is long for somebody who wants little.
func (f *follower) giveWay(r lines.Record) {
	const cost = 64 // of a record beside its text
	if f.turn += len(r.Text) + cost; f.turn >= turnBytes {
		f.turn = 0
		runtime.Gosched()
	}
}

// record checks a record and gives it on, if it is wanted.
func (f *follower) record(r lines.Record) error {
	f.giveWay(r)
	if f.sum.NextPos() == 1 && !f.whole {
		f.sum.Begin(r.Pos)
	}
	f.sum.Add(r)
	if r.End != nil {
		f.result.End = r.End
		if err := f.each(r); err != nil {
			return err
		}
		return errDone
	}
	if r.Pos < f.options.FromPos || !f.options.Since.IsZero() && r.TimeNanos < f.options.Since.UnixNano() ||
		r.Gap == nil && !f.streams[r.Stream] {
		return nil
	}
	if f.options.FromByte > 0 && !f.fromByte(&r) {
		return nil
	}
	return f.each(r)
}

// fromByte cuts a record of a wanted stream to what is not left out, and says whether that is anything.
func (f *follower) fromByte(r *lines.Record) bool {
	skip := f.options.FromByte - f.offset
	if r.Gap != nil {
		return skip <= 0
	}
	f.offset += int64(len(r.Text))
	if !r.Open {
		f.offset++
	}
	if skip > 0 {
		r.Text = r.Text[min(skip, int64(len(r.Text))):]
	}
	return f.offset > f.options.FromByte
}

// wanted adds up what is counted of the streams that are wanted.
func (f *follower) wanted(n [2]int64) (sum int64) {
	for s, wanted := range f.streams {
		if wanted {
			sum += n[s]
		}
	}
	return sum
}

// conclude says what the log was like.
func (f *follower) conclude() {
	r := &f.result
	switch {
	case r.Problem != nil:
	case r.Missing > 0:
		r.Problem = fmt.Errorf("%d messages of the log are missing", r.Missing)
	case r.Truncated:
		r.Problem = errTruncated
	case r.End == nil:
	case !f.whole:
		r.Complete = true
	default:
		r.Complete = true
		r.Problem = f.sum.Verify(r.End)
		r.Verified = r.Problem == nil
		r.Complete = r.Verified
	}
}
