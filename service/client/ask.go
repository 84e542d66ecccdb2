package client

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/runnel-io/runnel/service/client/internal/link"

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
	for _, r := range link.FreeFirst(in) {
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
	msg, err := c.link.Ask(ctx, link.Question{Verb: q.verb, Scope: scope, Body: body, Patience: cmp.Or(q.patience, c.link.Timeout)})
	if err != nil {
		return err
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
	return &RemoteError{Runner: msg.Header.Get(subjects.HeaderRunner), Code: code, Text: msg.Header.Get(micro.ErrorHeader)}
}

// decodeBody reads a reply in the form that it says it has.
func decodeBody(msg *nats.Msg, reply pb.Message) error {
	return pb.DecodeReply(msg.Data, msg.Header.Get(subjects.HeaderContentType) == subjects.Protobuf, reply)
}
