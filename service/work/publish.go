package work

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// Defaults of an Item.
const (
	DefaultPool     = "default"
	DefaultPriority = "normal"
)

// HeaderAttempt on a message is the number of the attempt that it begins with,
// where that is not the first: the work was tried again by hand.
const HeaderAttempt = "Runner-Attempt"

// An Item is work to be put into the queue. Its id is the request's.
type Item struct {
	// Pool and Priority. Defaults: "default", "normal".
	Pool, Priority string
	Request        *pb.TaskRequest
	// Attempt is the number of the first attempt: 1 if 0.
	Attempt int
	// Traceparent is the caller's W3C trace context.
	Traceparent string
}

func (i *Item) fill() error {
	if i.Pool == "" {
		i.Pool = DefaultPool
	}
	if i.Priority == "" {
		i.Priority = DefaultPriority
	}
	if err := subjects.Token(i.Pool); err != nil {
		return pb.Invalid("cannot use pool: %s", err)
	}
	if !slices.Contains(subjects.Priorities[:], i.Priority) {
		return pb.Invalid("cannot use priority %q: it is high, normal or low", i.Priority)
	}
	if err := pb.CheckQueueID(i.Request.GetMetadata().GetId()); err != nil {
		return err
	}
	return i.Request.Validate()
}

// message is what is published, and the options that make it the only one of its id.
func (q *Queue) message(i Item) (*nats.Msg, []jetstream.PublishOpt, error) {
	if err := i.fill(); err != nil {
		return nil, nil, err
	}
	body, err := pb.MarshalJSON(i.Request)
	if err != nil {
		return nil, nil, err
	}
	id := i.Request.GetMetadata().GetId()
	m := &nats.Msg{Subject: q.cfg.Space.Work(i.Pool, i.Priority, id), Data: body, Header: nats.Header{}}
	if i.Attempt > 1 {
		m.Header.Set(HeaderAttempt, strconv.Itoa(i.Attempt))
	}
	if i.Traceparent != "" {
		m.Header.Set(subjects.HeaderTrace, i.Traceparent)
	}
	options := []jetstream.PublishOpt{jetstream.WithExpectLastSequenceForSubject(0, q.cfg.Space.WorkAny(id)), jetstream.WithRetryAttempts(0)}
	return m, options, nil
}

// Accepted says that work is stored.
type Accepted struct {
	ID  string
	Seq uint64
	// Again: the same request was there before.
	Again bool
}

// Put stores work and goes on trying until the server has said yes or no, or ctx
// ends. The same request again is no error. Errors: ErrFull, ErrConflict,
// *pb.InvalidError.
func (q *Queue) Put(ctx context.Context, i Item) (Accepted, error) {
	m, options, err := q.message(i)
	if err != nil {
		return Accepted{}, err
	}
	id := i.Request.GetMetadata().GetId()
	for try := 1; ; try++ {
		var ack *jetstream.PubAck
		ack, err = q.publish(ctx, m, options)
		switch {
		case err == nil:
			return Accepted{ID: id, Seq: ack.Sequence}, nil
		case stream.IsWrongLast(err) || isFull(err):
			found, findErr := q.same(ctx, i)
			if findErr == nil || errors.Is(findErr, ErrConflict) {
				return found, findErr
			}
			if isFull(err) {
				return Accepted{}, fmt.Errorf("cannot queue %s: %w: %w", id, ErrFull, err)
			}
		case !stream.IsTransient(err):
			return Accepted{}, fmt.Errorf("cannot queue %s: %w", id, err)
		}
		if !stream.Pause(ctx, stream.RetryWait(try)) {
			return Accepted{}, fmt.Errorf("cannot queue %s: %w: %w", id, context.Cause(ctx), err)
		}
	}
}

func (q *Queue) publish(ctx context.Context, m *nats.Msg, options []jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.AnswerTimeout)
	defer cancel()
	own := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}} // as the client adds to the header
	for k, v := range m.Header {
		own.Header[k] = v
	}
	return q.cfg.JS.PublishMsg(ctx, own, options...)
}

// same looks whether the message of an id is of the same request.
func (q *Queue) same(ctx context.Context, i Item) (Accepted, error) {
	id := i.Request.GetMetadata().GetId()
	there, err := q.Get(ctx, id)
	if err != nil {
		return Accepted{}, err
	}
	want, err := i.Request.Digest()
	if err != nil {
		return Accepted{}, err
	}
	have, err := there.Digest()
	if err != nil || have != want {
		return Accepted{}, fmt.Errorf("cannot queue %s: %w", id, ErrConflict)
	}
	return Accepted{ID: id, Seq: there.Seq, Again: true}, nil
}

// PutAsync hands work to the connection and says later, by the future, whether it
// was stored: several thousand may be under way. What comes of it is not looked
// into, as Put does.
func (q *Queue) PutAsync(i Item) (jetstream.PubAckFuture, error) {
	m, options, err := q.message(i)
	if err != nil {
		return nil, err
	}
	return q.cfg.JS.PublishMsgAsync(m, append(options, jetstream.WithStallWait(time.Minute))...)
}

// isFull: the stream has as much as it may, or a message of this subject.
func isFull(err error) bool {
	var e *jetstream.APIError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Description {
	case "maximum messages exceeded", "maximum bytes exceeded", "maximum messages per subject exceeded", "resource limits exceeded for account", "insufficient resources":
		return true
	}
	return false
}

// Work is a message of the queue.
type Work struct {
	ID, Pool, Priority string
	Seq                uint64
	Accepted           time.Time // by the server's clock
	// Attempt is the number of the first attempt that this message is for.
	Attempt     int
	Body        []byte
	Traceparent string
	header      nats.Header
}

// Request reads the body. Error: *pb.InvalidError.
func (w Work) Request() (*pb.TaskRequest, error) {
	req := &pb.TaskRequest{}
	if err := pb.DecodeRequest(w.Body, w.isProtobuf(), req); err != nil {
		return nil, err
	}
	switch id := req.GetMetadata().GetId(); {
	case id == "":
		if req.Metadata == nil {
			req.Metadata = &pb.Metadata{}
		}
		req.Metadata.Id = w.ID
	case id != w.ID:
		return nil, pb.Invalid("metadata.id is %q, and the subject ends in %q", id, w.ID)
	}
	return req, nil
}

func (w Work) isProtobuf() bool { return w.header.Get(subjects.HeaderContentType) == subjects.Protobuf }

// headerOf is the header of a body that is kept without its own: JSON begins with
// a brace, and no request in protobuf does.
func headerOf(body []byte) nats.Header {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return nil
	}
	return nats.Header{subjects.HeaderContentType: []string{subjects.Protobuf}}
}

// Digest is that of the request.
func (w Work) Digest() (string, error) {
	req, err := w.Request()
	if err != nil {
		return "", err
	}
	return req.Digest()
}

// Stored is a message as work.
func (q *Queue) Stored(m stream.Message) (Work, bool) {
	w := Work{Seq: m.Seq, Accepted: m.Time, Body: m.Data, header: m.Header, Attempt: 1, Traceparent: subjects.Trace(m.Header.Get(subjects.HeaderTrace))}
	var ok bool
	w.Pool, w.Priority, w.ID, ok = q.cfg.Space.ParseWork(m.Subject)
	if n, err := strconv.Atoi(m.Header.Get(HeaderAttempt)); err == nil && n > 1 {
		w.Attempt = n
	}
	return w, ok
}

// Get reads the message of an id. Error: ErrNotWaiting.
func (q *Queue) Get(ctx context.Context, id string) (Work, error) {
	if subjects.Token(id) != nil {
		return Work{}, ErrNotWaiting
	}
	m, err := q.stream.Last(ctx, q.cfg.Space.WorkAny(id))
	var api *jetstream.APIError
	switch {
	case errors.Is(err, stream.ErrNoMessage), errors.Is(err, nats.ErrNoResponders), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return Work{}, ErrNotWaiting
	case err != nil:
		return Work{}, fmt.Errorf("cannot read work %s: %w", id, err)
	}
	w, _ := q.Stored(m)
	return w, nil
}

// Remove takes a message out of the stream. That it is gone already is no error.
func (q *Queue) Remove(ctx context.Context, seq uint64) error {
	body, err := json.Marshal(map[string]any{"seq": seq, "no_erase": true})
	if err != nil {
		return err
	}
	m, err := q.cfg.JS.Conn().RequestWithContext(ctx, stream.Prefix(q.cfg.JS)+"STREAM.MSG.DELETE."+q.stream.Name, body)
	if err != nil {
		return fmt.Errorf("cannot remove work: %w", err)
	}
	var reply struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return fmt.Errorf("cannot remove work: %w", err)
	}
	if reply.Error == nil || reply.Error.Code == 404 {
		return nil
	}
	switch reply.Error.ErrorCode { // by a runner that has found it ended
	case jetstream.JSErrCodeMessageNotFound, codeDeleteFailed, codeNoSequence:
		return nil
	}
	return fmt.Errorf("cannot remove work: %w", reply.Error)
}

// What the server says of a message that isn't there.
const (
	codeDeleteFailed jetstream.ErrorCode = 10057
	codeNoSequence   jetstream.ErrorCode = 10043
)
