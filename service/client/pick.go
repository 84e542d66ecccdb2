package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/runnel-io/runnel/service/client/internal/link"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/subjects"
)

// fullCode is what a runner without a free place answers.
const fullCode = 503

// passOver: this runner can't take it, another one may.
func passOver(err error) bool {
	return Code(err) == fullCode || Code(err) == busyCode || errors.Is(err, ErrNoRunners) || errors.Is(err, ErrOffline)
}

// unable is in the text of a 400 that is not the request's fault.
const unable = "this runner can't"

// isItsOwn: the refusal is of this runner's policy or host, and another may have
// another.
func isItsOwn(refusal *RemoteError) bool {
	return errors.Is(refusal, ErrRefused) || errors.Is(refusal, ErrInvalid) && strings.Contains(refusal.Text, unable)
}

// oneOfAny asks the runner that NATS picks. If that one is busy or refuses, others
// are asked by name, those with free places first.
func (c *Client) oneOfAny(ctx context.Context, t Target, q question) error {
	err := c.call(ctx, t.scope(), q)
	var refusal *RemoteError
	if !errors.As(err, &refusal) || !passOver(err) && !isItsOwn(refusal) {
		return err
	}
	others, _, findErr := c.matching(ctx, t)
	if findErr != nil {
		return named(err)
	}
	asked := 1
	for _, r := range link.FreeFirst(others) {
		if r.Card.GetName() == refusal.Runner || asked == anyoneTries {
			continue
		}
		asked++
		proto.Reset(q.reply)
		switch next := c.call(ctx, subjects.At(r.Card.GetName()), q); {
		case next == nil, !passOver(next) && !(errors.As(next, &refusal) && isItsOwn(refusal)):
			return next
		}
	}
	return named(err)
}

// named says whose refusal it is where nobody was named.
func named(err error) error {
	var refusal *RemoteError
	if errors.As(err, &refusal) && isItsOwn(refusal) {
		return fmt.Errorf("runner %s: %w", refusal.Runner, err)
	}
	return err
}

func noMatch(t Target) error {
	return fmt.Errorf("%w %q", ErrNoMatch, t.Where)
}
