package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// Find returns the run with an id that begins like this, if there is just one; a whole
// id needs no search. For work that waits in the queue it returns what Whole does.
func (c *Client) Find(ctx context.Context, beginning string) (*pb.Run, error) {
	if beginning == "" {
		return nil, errors.New("which run? its id is empty")
	}
	run, err := c.Status(ctx, beginning)
	if err == nil || !errors.Is(err, store.ErrUnknownRun) {
		return run, err
	}
	if run, wholeErr := c.Whole(ctx, beginning); wholeErr == nil {
		return run, nil // it waits in the queue
	}
	s, recordsErr := c.link.Records(ctx)
	if recordsErr != nil {
		return nil, recordsErr
	}
	ids, findErr := s.IDs(ctx, beginning)
	if findErr != nil {
		return nil, findErr
	}
	switch len(ids) {
	case 0:
		return nil, err
	case 1:
		return c.Status(ctx, ids[0])
	}
	return nil, fmt.Errorf("%d runs begin with %s, such as %s and %s: say more of the id", len(ids), beginning, ids[0], ids[1])
}
