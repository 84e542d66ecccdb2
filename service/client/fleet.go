package client

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Runner is one runner of the fleet: its card, when it was last seen by the
// NATS server's clock, whether it is online.
type Runner = store.Seen

// Runners lists every known runner by name, online or not.
func (c *Client) Runners(ctx context.Context) ([]Runner, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s, err := c.records(ctx)
	if errors.Is(err, store.ErrNoFleet) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ctx, done := c.deniable(ctx, isJetStream)
	defer done()
	seen, err := s.Cards(ctx)
	err = orDenied(ctx, err)
	slices.SortFunc(seen, func(a, b Runner) int { return strings.Compare(a.Card.GetName(), b.Card.GetName()) })
	return seen, err
}

// WatchRunners calls each for every card there is and then for every one that
// is written, until ctx ends.
func (c *Client) WatchRunners(ctx context.Context, each func(Runner) error) error {
	s, err := c.records(ctx)
	if err != nil {
		return err
	}
	ctx, done := c.deniable(ctx, c.isReadingOf(subjects.BucketStream(c.space.FleetBucket())))
	defer done()
	err = s.WatchCards(ctx, each)
	var denied *PermissionError
	if errors.As(context.Cause(ctx), &denied) { // a context that ends is no error of a watch
		return denied
	}
	return err
}

// Forget removes the card of a runner that is gone for good.
func (c *Client) Forget(ctx context.Context, name string) error {
	s, err := c.records(ctx)
	if err != nil {
		return err
	}
	return s.Forget(ctx, name)
}

// matching are the online runners that a target means, and those it leaves out.
func (c *Client) matching(ctx context.Context, t Target) (in, out []Runner, err error) {
	var where *store.Where
	if t.Where != "" {
		if where, err = store.CompileWhere(t.Where); err != nil {
			return nil, nil, err
		}
	}
	runners, err := c.Runners(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range runners {
		switch {
		case !r.Online, t.On != "" && r.Card.GetName() != t.On, t.Pool != "" && !slices.Contains(r.Card.GetPools(), t.Pool):
			continue
		}
		matches := true
		if where != nil {
			if matches, err = where.Match(r.Card); err != nil {
				return nil, nil, err
			}
		}
		if matches {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	return in, out, nil
}
