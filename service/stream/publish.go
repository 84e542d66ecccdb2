package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publish stores a message if the last one of its subject has the sequence last
// (0: there is none). It tries once, for as long as ctx allows, and the client
// does not send it again by itself: see Put. Errors: one that IsWrongLast, or
// nats.ErrPermissionViolation where the server has said that.
func (s Stream) Publish(ctx context.Context, m *nats.Msg, last uint64, options ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	options = append(options, jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithRetryAttempts(0))
	ack, err := s.JS.PublishMsg(ctx, m, options...)
	if errors.Is(err, context.DeadlineExceeded) {
		err = refusedFor(s.JS.Conn(), m.Subject, err)
	}
	return ack, err
}

// refusedFor tells a publish that got no answer from one that the user may not
// make: the server says so beside the request, and doesn't answer it.
func refusedFor(nc *nats.Conn, subject string, err error) error {
	if said := nc.LastError(); errors.Is(said, nats.ErrPermissionViolation) && strings.Contains(said.Error(), `"`+subject+`"`) {
		return fmt.Errorf("%w: may not publish on %s", nats.ErrPermissionViolation, subject)
	}
	return err
}

// Put is a message to be stored exactly once.
type Put struct {
	Msg *nats.Msg
	// Subject is where it is stored, if that is another one than it is published
	// to: a JetStream domain has a prefix for publishers.
	Subject string
	// Last is the sequence that the subject's last message must have; 0: none.
	Last uint64
	// Over says of the last message whether it may be written over whatever its
	// sequence, as a marker may. Nil: it may not.
	Over func(Message) bool
	// Options are further ones, such as jetstream.WithMsgTTL.
	Options []jetstream.PublishOpt
}

// ConflictError says what was the subject's last message instead of the expected
// one; Now.Seq is 0 if there was none.
type ConflictError struct{ Now Message }

func (e *ConflictError) Error() string { return fmt.Sprintf("the last sequence is %d", e.Now.Seq) }

// Put goes on trying until the server has said yes or no, or ctx ends, and
// returns the message's sequence. If an attempt without an answer had been
// stored, the same bytes are there, and that is a yes. "No" is a *ConflictError.
func (s Stream) Put(ctx context.Context, p Put) (uint64, error) {
	if p.Subject == "" {
		p.Subject = p.Msg.Subject
	}
	unsure := false // an attempt without an answer: it may have been stored
	for try := 1; ; try++ {
		seq, err := s.attempt(ctx, p)
		if err == nil {
			return seq, nil
		}
		switch {
		case IsWrongLast(err):
			now, getErr := s.lastInTime(ctx, p.Subject)
			none := errors.Is(getErr, ErrNoMessage)
			switch {
			case getErr != nil && !none:
				err = getErr // nobody knows yet: ask again
			case unsure && !none && bytes.Equal(now.Data, p.Msg.Data) && !(p.Over != nil && p.Over(now)):
				return now.Seq, nil
			case p.Over != nil && (none || p.Over(now)):
				p.Last = now.Seq
			case now.Seq != p.Last:
				return 0, &ConflictError{now}
			}
			// Else another write of this subject is on its way through the cluster.
		case !IsTransient(err):
			return 0, err
		default:
			unsure = true
		}
		if !Pause(ctx, RetryWait(try)) {
			return 0, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (s Stream) attempt(ctx context.Context, p Put) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	// A copy, as the client adds to the header.
	m := &nats.Msg{Subject: p.Msg.Subject, Data: p.Msg.Data, Header: nats.Header{}}
	for k, v := range p.Msg.Header {
		m.Header[k] = v
	}
	ack, err := s.Publish(ctx, m, p.Last, p.Options...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (s Stream) lastInTime(ctx context.Context, subject string) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return s.Last(ctx, subject)
}
