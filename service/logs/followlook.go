package logs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/service/lines"
)

// fewMessages are read one by one: a consumer takes three requests.
const fewMessages = 4

// openConsumer begins to read the stream, or goes on where reading stopped.
func (f *follower) openConsumer(ctx context.Context) error {
	if f.consumer != nil {
		failed := !f.consumer.spent() // perhaps at once
		f.closeConsumer()
		if failed {
			select {
			case <-ctx.Done():
			case <-time.After(retryWait):
			}
		}
	}
	err := patiently(ctx, f.log.js.Conn(), func() error { return f.tryConsumer(ctx) })
	if err != nil && !errors.Is(err, errDone) {
		err = fmt.Errorf("cannot follow %s: %w", f.options.Subject, err)
	}
	return err
}

func (f *follower) tryConsumer(ctx context.Context) error {
	log, err := openStored(ctx, f.log.js, f.log.stream, f.log.subject)
	if err != nil {
		return err
	}
	f.log = log
	if !f.options.Live && f.until == 0 {
		last, err := log.last(ctx)
		if errors.Is(err, errNotFound) {
			return f.look(ctx)
		}
		if err != nil {
			return err
		}
		f.until, f.result.last = last.seq, &last
	}
	from := f.after + 1
	var here *message
	if f.after == 0 {
		if from, here, err = f.begin(ctx); err != nil {
			return err
		}
	}
	switch {
	case !f.options.Live && (f.options.Sparing || f.until < from+fewMessages):
		f.consumer = &consumer{log: log, here: here, single: max(from, 1), ahead: f.options.Ahead}
	case here != nil: // it is often all that is wanted
		f.consumer = &consumer{log: log, here: here}
	default:
		f.consumer, err = openConsumer(ctx, log, from, f.options.Ahead)
	}
	return err
}

// begin finds the sequence in the stream of the first message that is wanted, and
// that message where it is known to be the one.
func (f *follower) begin(ctx context.Context) (uint64, *message, error) {
	if f.next == 0 && f.options.FromPos > 1 && f.options.Since.IsZero() {
		return f.beginAtLine(ctx)
	}
	seq, err := f.beginWhere(ctx)
	return seq, nil, err
}

func (f *follower) beginWhere(ctx context.Context) (uint64, error) {
	var wanted func(message) bool
	switch {
	case f.next == 1:
		return 1, nil
	case f.next > 1: // the last one that was shown is read again: it may not be what was stored
		wanted = func(m message) bool { return m.runnerSeq >= f.next-1 }
	case f.options.FromSeq > 1:
		wanted = func(m message) bool { return m.runnerSeq >= f.options.FromSeq }
	case f.options.FromByte > 0:
		return f.beginAtByte(ctx)
	default:
		wanted = f.reaches
	}
	m, err := f.log.find(ctx, wanted)
	if errors.Is(err, errNotFound) { // not there yet, or never; the last one may tell the end
		last, err := f.log.last(ctx)
		if errors.Is(err, errNotFound) {
			return 1, nil
		}
		return last.seq, err
	}
	if err != nil {
		return 0, err
	}
	if f.next == 0 && m.runnerSeq > 1 {
		first, err := f.log.at(ctx, 1)
		if err != nil {
			return 0, err
		}
		if pos, _ := span(first); first.seq == m.seq && (f.options.FromPos <= 0 || pos > f.options.FromPos) {
			f.result.Truncated = true
		}
	}
	return m.seq, nil
}

// reaches reports whether the end of a message is within what is wanted.
func (f *follower) reaches(m message) bool {
	_, last := span(m)
	return last.Pos >= f.options.FromPos && (f.options.Since.IsZero() || last.TimeNanos >= f.options.Since.UnixNano())
}

// span returns the number of a message's first line, and the highest number and the time of its last.
func span(m message) (first int64, last lines.Record) {
	// What can't be read ends the span; reading it for good will say so.
	_ = lines.Decode(m.body, func(r lines.Record) error {
		if first == 0 {
			first = r.Pos
		}
		last.Pos, last.TimeNanos = max(last.Pos, r.Pos), r.TimeNanos
		return nil
	})
	return first, last
}

// look is for when nothing has come for a while: has the run ended without an EOF record, or is there more than we were
// sent?
func (f *follower) look(ctx context.Context) error {
	final := f.final(ctx)
	log, err := openStored(ctx, f.log.js, f.log.stream, f.log.subject)
	if err != nil {
		return nil // the server is away
	}
	f.log = log
	last, err := log.last(ctx)
	over := final || !f.options.Live
	switch {
	case errors.Is(err, errNotFound) && over:
		f.result.Truncated = final
		return errDone
	case err != nil:
		return nil
	case last.runnerSeq >= f.next:
		return errBehind
	case last.end() != nil:
		f.result.End, f.result.Problem = last.end(), errDiffers
		return errDone
	case final:
		f.result.Problem = errNoEnd
		return errDone
	case over:
		return errDone
	}
	return nil
}

func (f *follower) final(ctx context.Context) bool {
	if f.options.Final == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	final, err := f.options.Final(ctx)
	return err == nil && final
}

func (f *follower) closeConsumer() {
	if f.consumer != nil {
		f.consumer.close()
		f.consumer = nil
	}
}

const (
	tick         = time.Second
	maxLookTicks = 32
)

// idle measures how long nothing has come, with one timer for many messages.
type idle struct {
	parent context.Context
	ctx    context.Context // ends every tick
	cancel context.CancelFunc
	came   bool // something, since the tick before
	ticks  int  // since something came
}

func newIdle(ctx context.Context) *idle {
	w := &idle{parent: ctx}
	w.ctx, w.cancel = context.WithTimeout(ctx, tick)
	return w
}

func (w *idle) busy() { w.came = true }

// over begins the next tick. It reports whether it is time to look: after 1, 2, 4 … ticks, then every 32.
func (w *idle) over() bool {
	w.cancel()
	w.ctx, w.cancel = context.WithTimeout(w.parent, tick)
	w.ticks++
	if w.came {
		w.ticks, w.came = 0, false
		return false
	}
	return w.ticks&(w.ticks-1) == 0 || w.ticks%maxLookTicks == 0
}

func (w *idle) stop() { w.cancel() }
