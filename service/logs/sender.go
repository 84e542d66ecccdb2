package logs

import (
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/service/lines"
)

// This file is the way of messages out of a Writer. All its functions but send and becameSlow are called with w.mu held.

// wake starts a sender if there is something for it. It stops by itself.
func (w *Writer) wake() {
	if w.sending || w.err != nil || w.spool.empty() && w.cutter.Peek() == nil {
		return
	}
	w.sending = true
	go w.send()
}

// send sends all there is, one message after the other. w.mu is free while it waits for an ack.
func (w *Writer) send() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && w.take() {
		m := w.inflight
		w.moved.Broadcast()
		w.mu.Unlock()
		var err error
		if !brokenDrop || m.number%3 != 2 {
			err = w.pub.publish(w.ctx, m, w.becameSlow)
		}
		w.mu.Lock()
		w.settle(err)
	}
	w.sending = false
	w.moved.Broadcast()
}

// take makes the oldest message that waits the one in flight.
func (w *Writer) take() bool {
	if !w.spool.empty() {
		m, err := w.spool.next(w.spare)
		if err == nil {
			m.spooled = true
			w.inflight, w.spare = m, nil
			return true
		}
		// What follows has its numbers, so readers see that some are missing.
		w.note(fmt.Errorf("log messages are lost: the spool is damaged: %w", err))
		w.note(w.spool.reset())
	}
	w.cutter.Drop(false)
	head := w.cutter.Head()
	body, ok := w.cutter.Next(w.spare)
	if !ok {
		return false
	}
	w.number++
	w.inflight, w.spare = outgoing{number: w.number, head: head, body: body}, nil
	return true
}

// settle is told how the message in flight has fared.
func (w *Writer) settle(err error) {
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		if errors.Is(err, ErrFenced) && w.cfg.OnFenced != nil {
			go w.cfg.OnFenced(err)
		}
		return
	}
	m := w.inflight
	w.inflight, w.spare = outgoing{}, m.body
	w.slow, w.scratch = false, nil
	if m.spooled {
		w.note(w.spool.skip())
	}
}

// becameSlow is called when the message in flight has not been acknowledged for a second.
func (w *Writer) becameSlow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = true
	w.stash()
	w.moved.Broadcast()
}

// stash moves what waits in memory to the spool, beginning with the message in flight, whose fate is not known. It reports
// whether all of it has found room.
func (w *Writer) stash() bool {
	w.stashed = time.Now()
	if w.inflight.number != 0 && !w.inflight.spooled {
		if !w.keep(w.inflight) {
			return false
		}
		w.inflight.spooled = true
	}
	for body := w.cutter.Peek(); body != nil; body = w.cutter.Peek() {
		if !w.keep(outgoing{number: w.number + 1, head: w.cutter.Head(), body: body}) {
			return false
		}
		w.number++
		w.scratch, _ = w.cutter.Next(w.scratch)
	}
	return true
}

// tellMissing puts into the spool what of the output is not there: the message in flight, whose fate is not known, and what
// comes after it. There is room for that where a longer message has just found none.
func (w *Writer) tellMissing(now time.Time) {
	rest, end := w.cutter.Head(), w.cutter.EndHead()
	from := rest
	var frames []outgoing
	if w.inflight.number != 0 && !w.inflight.spooled {
		from = w.inflight.head
		frames = append(frames, outgoing{number: w.inflight.number, head: from, body: lines.Missing(from, rest, now), missing: true})
	}
	frames = append(frames, outgoing{number: w.number + 1, head: rest, body: lines.Missing(rest, end, now), missing: true})
	told := true
	for _, m := range frames {
		if m.body != nil {
			told = w.keep(m) && told
		}
	}
	w.cfg.Logger.Error("output is lost: it doesn't fit the spool", "subject", w.cfg.Subject, "fromLine", from.Pos, "toLine", end.Pos-1, "toldInSpool", told)
}

// keep puts a message into the spool. A spool that can't be written to is said
// once, not at each try.
func (w *Writer) keep(m outgoing) bool {
	err := w.spool.append(m)
	broken := err != nil && !errors.Is(err, errSpoolFull)
	if broken && !w.spoolBroken {
		w.note(err)
	}
	w.spoolBroken = broken
	return err == nil
}
