package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// question is one request and the place for its reply.
type question struct {
	verb  subjects.Verb
	body  pb.Request
	reply pb.Message
	// patience is how long the answer may take. 0: the client's timeout.
	patience time.Duration
}

// one asks a single runner of a target. Where picks among the online cards that
// match, those with free places first; one that is full or gone is passed over.
func (c *Client) one(ctx context.Context, t Target, q question) error {
	switch {
	case t.On != "":
		return c.call(ctx, t.scope(), q)
	case t.Where == "":
		return c.oneOfAny(ctx, t, q)
	}
	in, _, err := c.matching(ctx, t)
	if err != nil {
		return err
	}
	if len(in) == 0 {
		return noMatch(t)
	}
	for _, r := range freeFirst(in) {
		err := c.call(ctx, subjects.At(r.Card.GetName()), q)
		if err == nil || !passOver(err) {
			return err
		}
	}
	return ErrNoRunners
}

// call asks one scope and decodes the reply. A reply that carries an error is
// decoded as well, as far as it can be.
func (c *Client) call(ctx context.Context, scope subjects.Scope, q question) error {
	body, err := encode(q.body)
	if err != nil {
		return err
	}
	patience := cmp.Or(q.patience, c.timeout)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	subject := c.space.Request(q.verb, scope)
	ctx, done := c.deniable(ctx, c.isMine(subject))
	defer done()
	began := time.Now()
	ask := &nats.Msg{Subject: subject, Header: c.headers(ctx, patience), Data: body}
	msg, err := c.nc.RequestMsgWithContext(ctx, ask)
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
		msg, err = c.nc.RequestMsgWithContext(ctx, ask)
	}
	err = orDenied(ctx, err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("cannot ask %s: %w in %s", subject, ErrNoAnswer, patience)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("cannot send a request of %d bytes: the server takes %d at most", len(body), c.nc.MaxPayload())
	case err != nil:
		return fmt.Errorf("cannot ask %s: %w", subject, err)
	}
	return decode(msg, q.reply)
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
			return fmt.Errorf("runner %s is %w; last seen %s ago", name, ErrOffline, r.Age.Round(time.Second)), false
		}
	}
	return fmt.Errorf("runner %s is %w, and no runner of that name is known", name, ErrOffline), false
}
