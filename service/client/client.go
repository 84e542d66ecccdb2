// Package client asks a fleet of runners, from any Go program with a NATS
// connection.
//
// A Client is a connection, a prefix and patience. Its methods mirror the
// table of endpoints: Start and Run for task, Glance, Maint, Query, Abort; and
// what needs more than one request: Follow for a run's output, FanOut for
// asking many and knowing by name who did not answer, Runners for the fleet.
//
// Errors are of two kinds: a *RemoteError is what a runner answered, with its
// code; anything else means that nobody was reached.
package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// DefaultTimeout is how long a runner has to answer.
const DefaultTimeout = 5 * time.Second

// ErrNoRunners: nobody is there to answer.
var ErrNoRunners = errors.New("No runners available.") //lint:ignore ST1005 the contract's words (scoot)

// ErrNoAnswer: a runner was asked and did not answer in time.
var ErrNoAnswer = errors.New("no answer")

// Options of a Client. The zero value is the default prefix and timeout.
type Options struct {
	// Prefix of all subjects. Default: "runner".
	Prefix string
	// Timeout is how long a runner has to answer. Default: 5 s.
	Timeout time.Duration
	// JetStream replaces jetstream.New(nc), for an API prefix or a domain.
	JetStream jetstream.JetStream
	// OnlineFor is how young the card of an online runner is. Default: 30 s.
	OnlineFor time.Duration
}

// Client asks one fleet. It is safe for concurrent use.
type Client struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	space   subjects.Space
	timeout time.Duration
	online  time.Duration

	mu    sync.Mutex
	store *store.Store
}

// New makes a client. It doesn't talk to anybody yet.
func New(nc *nats.Conn, opts Options) (*Client, error) {
	space, err := subjects.New(opts.Prefix)
	if err != nil {
		return nil, err
	}
	js := opts.JetStream
	if js == nil {
		if js, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("cannot use JetStream: %w", err)
		}
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	return &Client{nc: nc, js: js, space: space, timeout: opts.Timeout, online: opts.OnlineFor}, nil
}

// Space is where the fleet lives.
func (c *Client) Space() subjects.Space { return c.space }

// records opens the fleet's buckets, at the first use.
func (c *Client) records(ctx context.Context) (*store.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store != nil {
		return c.store, nil
	}
	s, err := store.Open(ctx, c.js, c.space, store.Config{
		Existing:  true, // runners make what is missing, and may
		OnlineFor: c.online,
		PurgeLog:  func(ctx context.Context, run *pb.Run) error { return logs.Purge(ctx, c.js, run) },
	})
	if err != nil {
		return nil, err
	}
	c.store = s
	return s, nil
}

// Target says which runner, or which runners, are meant. The zero value is any
// runner of the fleet.
type Target struct {
	// On names one runner.
	On string
	// Pool narrows to a pool.
	Pool string
	// All means every runner instead of one.
	All bool
	// Where is a selector over the cards: labels.env == "prod" && cpus > 8.
	Where string
}

// Validate refuses targets that contradict themselves.
func (t Target) Validate() error {
	if t.On != "" && (t.All || t.Pool != "" || t.Where != "") {
		return errors.New("one runner was named: pool, all and where don't go with it")
	}
	for _, name := range []string{t.On, t.Pool} {
		if name == "" {
			continue
		}
		if err := subjects.Token(name); err != nil {
			return fmt.Errorf("cannot use name: %w", err)
		}
	}
	return nil
}

// scope is the target's, as far as a subject can say it.
func (t Target) scope() subjects.Scope {
	switch {
	case t.On != "":
		return subjects.At(t.On)
	case t.Pool != "" && t.All:
		return subjects.PoolAll(t.Pool)
	case t.Pool != "":
		return subjects.PoolAny(t.Pool)
	case t.All:
		return subjects.All
	}
	return subjects.Any
}

// RemoteError is what a runner answered instead of a reply.
type RemoteError struct {
	// Runner that answered.
	Runner string
	// Code is HTTP-like.
	Code int
	// Text of the error.
	Text string
}

func (e *RemoteError) Error() string { return e.Text }

// Code is a RemoteError's code, or 0.
func Code(err error) int {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Code
	}
	return 0
}

// call asks one scope and decodes the reply. A reply that carries an error is
// decoded as well, as far as it can be.
func (c *Client) call(ctx context.Context, verb subjects.Verb, scope subjects.Scope, req pb.Request, reply pb.Message) error {
	return c.callFor(ctx, c.timeout, verb, scope, req, reply)
}

func (c *Client) callFor(ctx context.Context, patience time.Duration, verb subjects.Verb, scope subjects.Scope, req pb.Request, reply pb.Message) error {
	body, err := encode(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	subject := c.space.Request(verb, scope)
	began := time.Now()
	msg, err := c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: asProtobuf(), Data: body})
	for errors.Is(err, nats.ErrNoResponders) {
		cause, online := c.nobody(ctx, scope)
		if !online || time.Since(began) > reconnectTime {
			return cause
		}
		select {
		case <-time.After(reconnectTime / 10):
		case <-ctx.Done():
			return cause
		}
		msg, err = c.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: asProtobuf(), Data: body})
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("cannot ask %s: %w in %s", subject, ErrNoAnswer, patience)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("cannot send a request of %d bytes: the server takes %d at most", len(body), c.nc.MaxPayload())
	case err != nil:
		return fmt.Errorf("cannot ask %s: %w", subject, err)
	}
	return decode(msg, reply)
}

// encode gives a request's protobuf and refuses here what a runner would. JSON
// is for those who write it by hand: to read it back takes ten times as long.
func encode(req pb.Request) ([]byte, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	body, err := pb.Encode(req, true)
	if err != nil {
		return nil, fmt.Errorf("cannot send the request: %w", err)
	}
	return body, nil
}

// asProtobuf are the headers that say how a request is written, and its reply
// will be.
func asProtobuf() nats.Header {
	return nats.Header{subjects.HeaderContentType: []string{subjects.Protobuf}}
}

func decode(msg *nats.Msg, reply pb.Message) error {
	if msg.Header.Get(micro.ErrorHeader) == "" && msg.Header.Get(micro.ErrorCodeHeader) == "" {
		return decodeBody(msg, reply)
	}
	code, _ := strconv.Atoi(msg.Header.Get(micro.ErrorCodeHeader))
	// An error's own body has other fields; a glance's or a maint's reply is as
	// usual and says what is known all the same.
	_ = decodeBody(msg, reply)
	return &RemoteError{Runner: msg.Header.Get(headerRunner), Code: code, Text: msg.Header.Get(micro.ErrorHeader)}
}

// decodeBody reads a reply in the form that it says it has.
func decodeBody(msg *nats.Msg, reply pb.Message) error {
	return pb.DecodeReply(msg.Data, msg.Header.Get(subjects.HeaderContentType) == subjects.Protobuf, reply)
}

// headerRunner names who answers.
const headerRunner = "Runner-Name"

// ErrOffline: the runner that was named is not there.
var ErrOffline = errors.New("not online")

// reconnectTime is how long a runner has to come back that was online a moment
// ago: its server was restarted, or a link was cut.
const reconnectTime = time.Second

// nobody explains why a scope has no responders, and says whether it is of a
// runner that counts as online all the same.
func (c *Client) nobody(ctx context.Context, scope subjects.Scope) (cause error, online bool) {
	name, isOne := strings.CutPrefix(string(scope), "at.")
	if !isOne {
		return ErrNoRunners, false
	}
	runners, err := c.Runners(ctx)
	if err != nil {
		return fmt.Errorf("runner %s is %w", name, ErrOffline), false
	}
	for _, r := range runners {
		switch {
		case r.Card.GetName() != name:
		case r.Online:
			return fmt.Errorf("runner %s is %w: it doesn't answer, though it was seen %s ago", name, ErrOffline, r.Age.Round(time.Second)), true
		default:
			return fmt.Errorf("runner %s is %w; last seen %s ago (runnel ls)", name, ErrOffline, r.Age.Round(time.Second)), false
		}
	}
	return fmt.Errorf("runner %s is %w, and no runner of that name is known (runnel ls)", name, ErrOffline), false
}
