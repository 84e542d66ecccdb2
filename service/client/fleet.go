package client

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Runner is one runner of the fleet: its card, when it was last seen by the
// NATS server's clock, whether it is online.
type Runner = store.Seen

// Runners lists every known runner by name, online or not.
func (c *Client) Runners(ctx context.Context) ([]Runner, error) { return c.link.Cards(ctx) }

// WatchRunners calls each for every card there is and then for every one that
// is written, until ctx ends.
func (c *Client) WatchRunners(ctx context.Context, each func(Runner) error) error {
	s, err := c.link.Records(ctx)
	if err != nil {
		return err
	}
	ctx, done := c.link.Deniable(ctx, c.link.Reading(subjects.BucketStream(c.link.Space.FleetBucket())))
	defer done()
	err = s.WatchCards(ctx, each)
	if denied := context.Cause(ctx); errors.Is(denied, nats.ErrPermissionViolation) { // a context that ends is no error of a watch
		return denied
	}
	return err
}

// Forget removes the card of a runner that is gone for good.
func (c *Client) Forget(ctx context.Context, name string) error {
	s, err := c.link.Records(ctx)
	if err != nil {
		return err
	}
	return s.Forget(ctx, name)
}
