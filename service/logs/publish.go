package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

const (
	// slowAfter is how long a message waits for its ack until the stream counts as slow.
	slowAfter = time.Second
	// troubleAfter is how long until that is trouble: a cluster elects a leader in less.
	troubleAfter = 8 * time.Second
	// An ack that has not come after ackPatience times what acks have taken lately, and minAckTimeout, is not waited for: the
	// message is published again, which does no harm but traffic. The time doubles with each attempt, up to resendAfter
	// where acks are quick, for while the stream has no leader it is over that much later than the election.
	ackPatience    = 4
	resendAfter    = time.Second
	minAckTimeout  = 80 * time.Millisecond
	maxAckTimeout  = 4 * time.Second
	firstAckTime   = 40 * time.Millisecond
	requestTimeout = 2 * time.Second
	// retryWait is how long to wait where the server answers at once that it can't.
	retryWait    = 20 * time.Millisecond
	maxRetryWait = 250 * time.Millisecond
)

// ErrFenced says that somebody else has written to the run's log: the run was closed, and its output goes nowhere.
var ErrFenced = errors.New("the log was closed by somebody else")

// publisher puts the messages of one run into the stream, one after the other, each exactly once. One goroutine at a time
// uses it.
type publisher struct {
	js      jetstream.JetStream
	subject string
	stream  string // "" until it is known
	logger  *slog.Logger
	trouble func(error) // may be nil

	ackTime   time.Duration // what an ack takes, smoothed
	runnerSeq uint64        // of the last message that is stored
	seq       uint64        // of the same in the stream; 0: the run has none
}

// publish returns when the message is stored, or ctx ends, or somebody else has written, or the connection is closed for good.
// slow is called when that takes longer than it should, perhaps more than once.
func (p *publisher) publish(ctx context.Context, m outgoing, slow func()) error {
	n := m.number
	began, said := time.Now(), false
	if p.ackTime == 0 {
		p.ackTime = firstAckTime
	}
	timeout, wait := min(ackPatience*p.ackTime+minAckTimeout, maxAckTimeout), retryWait
	inTrouble := false
	defer func() {
		if inTrouble {
			p.trouble(nil)
		}
	}()
	for {
		sent := time.Now()
		acked, err := p.try(ctx, m, timeout)
		switch {
		case acked:
			p.ackTime += (time.Since(sent) - p.ackTime) / 8
			return nil
		case err == nil: // the ack was lost, or it takes longer than it did
			p.ackTime = min(p.ackTime*5/4, maxAckTimeout)
			return nil
		case errors.Is(err, ErrFenced), errors.Is(err, nats.ErrConnectionClosed):
			return fmt.Errorf("cannot store message %d of %s: %w", n, p.subject, err)
		case ctx.Err() != nil:
			return fmt.Errorf("cannot store message %d of %s: %w", n, p.subject, context.Cause(ctx))
		}
		if time.Since(began) >= slowAfter {
			if !said { // once, however long it takes
				p.logger.Warn("log message is not stored yet", "subject", p.subject, "message", n, "error", err)
				said = true
			}
			slow()
		}
		if p.trouble != nil && !inTrouble && time.Since(began) >= troubleAfter {
			inTrouble = true
			p.trouble(err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			timeout = min(2*timeout, max(resendAfter, 2*ackPatience*p.ackTime), maxAckTimeout)
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, maxRetryWait)
	}
}

// try publishes once. No error and not acked means that the message had been stored before.
func (p *publisher) try(ctx context.Context, m outgoing, timeout time.Duration) (acked bool, err error) {
	msg := &nats.Msg{Subject: p.subject, Data: m.body, Header: m.header()}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	ack, err := stream.Stream{JS: p.js}.Publish(attempt, msg, p.seq)
	cancel()
	if err == nil {
		p.stored(m.number, ack.Sequence)
		p.stream = ack.Stream
		return true, nil
	}
	if stream.IsWrongLast(err) {
		return false, p.look(ctx, m.number, m.body, err)
	}
	return false, err
}

func (p *publisher) stored(n, seq uint64) { p.runnerSeq, p.seq = n, seq }

// look finds out why the condition of message n doesn't hold. It returns nil when the message had been stored already, and
// refused where publishing it again is right.
func (p *publisher) look(ctx context.Context, n uint64, body []byte, refused error) error {
	log, err := openStored(ctx, p.js, p.stream, p.subject)
	if err != nil {
		return err
	}
	p.stream = log.stream
	last, err := log.last(ctx)
	switch {
	case errors.Is(err, errNotFound):
		p.seq = 0 // what there was has been removed by the stream's limits
		return refused
	case err != nil:
		return err
	case last.runnerSeq == n && bytes.Equal(last.body, body):
		p.stored(n, last.seq)
		return nil
	case last.runnerSeq >= n || last.runnerSeq == 0:
		return ErrFenced
	}
	if last.runnerSeq != p.runnerSeq {
		p.logger.Error("the stream has lost log messages that it had acknowledged", "subject", p.subject,
			"acknowledged", p.runnerSeq, "last", last.runnerSeq)
	}
	p.runnerSeq, p.seq = last.runnerSeq, last.seq
	return refused
}
