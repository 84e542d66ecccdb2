package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Question is one request and the place for its reply.
type Question struct {
	Verb  subjects.Verb
	Body  pb.Request
	Reply pb.Message
	// Patience is how long the answer may take. 0: the link's timeout.
	Patience time.Duration
}

// Call asks one scope and decodes the reply. A reply that carries an error is
// decoded as well, as much of it as is valid.
func (l *Link) Call(ctx context.Context, scope subjects.Scope, q Question) error {
	body, err := Encode(q.Body)
	if err != nil {
		return err
	}
	q.Patience = cmp.Or(q.Patience, l.Timeout)
	msg, err := l.ask(ctx, scope, q, body)
	if err != nil {
		return err
	}
	return l.Decode(msg, q.Reply)
}

// ask asks one scope and returns the answer, which may be an error. Errors:
// ErrNoRunners, ErrOffline, ErrNoAnswer, what the server denies.
func (l *Link) ask(ctx context.Context, scope subjects.Scope, q Question, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, q.Patience)
	defer cancel()
	subject := l.Space.Request(q.Verb, scope)
	ctx, done := l.Deniable(ctx, l.Asking(subject))
	defer done()
	began := time.Now()
	request := &nats.Msg{Subject: subject, Header: l.Headers(ctx, q.Patience), Data: body}
	msg, err := l.NC.RequestMsgWithContext(ctx, request)
	for errors.Is(err, nats.ErrNoResponders) {
		cause, online := l.nobody(ctx, scope)
		if !online || time.Since(began) > reconnectTime {
			return nil, cause
		}
		select {
		case <-time.After(reconnectTime / 10):
		case <-ctx.Done():
			return nil, cause
		}
		msg, err = l.NC.RequestMsgWithContext(ctx, request)
	}
	err = OrDenied(ctx, err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, fmt.Errorf("cannot ask %s: %w in %s", subject, ErrNoAnswer, q.Patience)
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, fmt.Errorf("cannot send a request of %d bytes: the server takes %d at most", len(body), l.NC.MaxPayload())
	case err != nil:
		return nil, fmt.Errorf("cannot ask %s: %w", subject, err)
	}
	return msg, nil
}

// reconnectTime is how long a runner has to come back that was online a moment
// ago: its server was restarted, or a link was cut.
const reconnectTime = time.Second

// nobody explains why a scope has no responders, and says whether it is of a
// runner that counts as online all the same.
func (l *Link) nobody(ctx context.Context, scope subjects.Scope) (cause error, online bool) {
	name, isOne := strings.CutPrefix(string(scope), "at.")
	if !isOne {
		return ErrNoRunners, false
	}
	runners, err := l.Cards(ctx)
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
