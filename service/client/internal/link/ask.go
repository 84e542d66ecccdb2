package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel/subjects"

	"github.com/nats-io/nats.go"
)

// Conditions that package client gives to its callers.
var (
	ErrNoRunners = errors.New("No runners available.") //lint:ignore ST1005 the contract's words (scoot)
	ErrNoAnswer  = errors.New("no answer")
	ErrOffline   = errors.New("not online")
)

// Question is one request.
type Question struct {
	Verb  subjects.Verb
	Scope subjects.Scope
	Body  []byte
	// Patience is how long the answer may take.
	Patience time.Duration
}

// Ask asks one scope and returns the answer, which may be an error. Errors:
// ErrNoRunners, ErrOffline, ErrNoAnswer, what the server denies.
func (l *Link) Ask(ctx context.Context, q Question) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, q.Patience)
	defer cancel()
	subject := l.Space.Request(q.Verb, q.Scope)
	ctx, done := l.Deniable(ctx, l.Asking(subject))
	defer done()
	began := time.Now()
	ask := &nats.Msg{Subject: subject, Header: l.Headers(ctx, q.Patience), Data: q.Body}
	msg, err := l.NC.RequestMsgWithContext(ctx, ask)
	for errors.Is(err, nats.ErrNoResponders) {
		cause, online := l.nobody(ctx, q.Scope)
		if !online || time.Since(began) > reconnectTime {
			return nil, cause
		}
		select {
		case <-time.After(reconnectTime / 10):
		case <-ctx.Done():
			return nil, cause
		}
		msg, err = l.NC.RequestMsgWithContext(ctx, ask)
	}
	err = OrDenied(ctx, err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, fmt.Errorf("cannot ask %s: %w in %s", subject, ErrNoAnswer, q.Patience)
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, fmt.Errorf("cannot send a request of %d bytes: the server takes %d at most", len(q.Body), l.NC.MaxPayload())
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
