package logs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// errNotFound says that a run has no such message.
var errNotFound = errors.New("no message")

// patiently tries until it works, or ctx ends, or trying again is of no use.
func patiently(ctx context.Context, nc *nats.Conn, try func() error) error {
	for wait := retryWait; ; wait = min(2*wait, maxRetryWait) {
		err := try()
		switch {
		case err == nil, errors.Is(err, errNotFound), errors.Is(err, errDone), nc.IsClosed(), refused(err):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// refused tells a server that won't from one that can't now.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code >= 400 && api.Code < 500 ||
		errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrPermissionViolation)
}

// message is one stored message of a run.
type message struct {
	seq       uint64 // in the stream
	runnerSeq uint64 // in the run, from 1; 0 if it has none
	header    nats.Header
	body      []byte
}

// end returns the EOF record of a message, or nil.
func (m message) end() *lines.End {
	var end *lines.End
	// What can't be read is no EOF; who follows the log is told.
	_ = lines.Decode(m.body, func(r lines.Record) error { end = r.End; return nil })
	return end
}

// stored reads single messages of one run, from the stream's leader: a direct get may be answered by a replica that is
// behind.
type stored struct {
	js      jetstream.JetStream
	stream  string
	subject string
}

// openStored finds the stream of a subject where it is not known.
func openStored(ctx context.Context, js jetstream.JetStream, stream, subject string) (*stored, error) {
	if stream == "" {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		var err error
		if stream, err = js.StreamNameBySubject(ctx, subject); err != nil {
			return nil, fmt.Errorf("cannot find the stream of %s: %w", subject, err)
		}
	}
	return &stored{js, stream, subject}, nil
}

// last returns the run's last message.
func (s *stored) last(ctx context.Context) (message, error) {
	return s.get(ctx, func(ctx context.Context, log stream.Stream) (stream.Message, error) { return log.Last(ctx, s.subject) })
}

// at returns the run's first message whose sequence in the stream is seq or more.
func (s *stored) at(ctx context.Context, seq uint64) (message, error) {
	return s.get(ctx, func(ctx context.Context, log stream.Stream) (stream.Message, error) {
		return log.Next(ctx, s.subject, seq)
	})
}

func (s *stored) get(ctx context.Context, read func(context.Context, stream.Stream) (stream.Message, error)) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := read(ctx, stream.Stream{JS: s.js, Name: s.stream})
	if errors.Is(err, stream.ErrNoMessage) {
		return message{}, errNotFound
	}
	if err != nil {
		return message{}, fmt.Errorf("cannot read %s: %w", s.subject, err)
	}
	return message{seq: m.Seq, runnerSeq: runnerSeq(m.Header), header: m.Header, body: m.Data}, nil
}

// runnerSeq returns a message's number in its run, 0 if it has none.
func runnerSeq(header nats.Header) uint64 {
	n, err := strconv.ParseUint(header.Get(subjects.HeaderSeq), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// find returns the first message of the run for which is holds, given that it holds for all messages after that one too,
// or errNotFound. It takes about as many requests as the stream's length has bits.
func (s *stored) find(ctx context.Context, is func(message) bool) (message, error) {
	found, err := s.last(ctx)
	if err != nil {
		return message{}, err
	}
	if !is(found) {
		return message{}, errNotFound
	}
	first, err := s.at(ctx, 1)
	if err != nil || is(first) {
		return first, err
	}
	// It doesn't hold for what is before low; from high on, found is the first for which it does.
	for low, high := first.seq+1, found.seq; low < high; {
		middle := low + (high-low)/2
		m, err := s.at(ctx, middle)
		if err != nil {
			return message{}, err
		}
		if is(m) {
			found, high = m, middle
		} else {
			low = m.seq + 1
		}
	}
	return found, nil
}
