package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Remove removes a run's output and then its record; its id can't be used again
// for a day. Output whose record is gone is removed as well. The run must be final:
// store.ErrLive is a 409, store.ErrUnknownRun a 404.
func (c *Client) Remove(ctx context.Context, id string) error {
	s, err := c.link.Records(ctx)
	if err != nil {
		return err
	}
	err = s.Remove(ctx, id)
	if errors.Is(err, store.ErrLive) {
		// Whoever is asked ends a run whose runner is gone.
		if reply, askErr := c.Query(ctx, &pb.Query{Runs: []string{id}}); askErr == nil &&
			len(reply.GetRuns()) == 1 && store.Final(reply.GetRuns()[0].GetState()) {
			err = s.Remove(ctx, id)
		}
	}
	if errors.Is(err, store.ErrUnknownRun) && subjects.RunID(id) == nil {
		// A log can be left alone, if somebody has removed the record by hand.
		if there, purgeErr := logs.PurgeLeft(ctx, c.link.JS, c.link.Space, id); there || purgeErr != nil {
			return purgeErr
		}
	}
	return err
}

// RemoveOlder removes the runs that ended longer than age ago, and returns their ids.
// A run that somebody else removes meanwhile is no error. each, if not nil, is told of
// each run that was removed, and how many there are.
func (c *Client) RemoveOlder(ctx context.Context, age time.Duration, each func(id string, of int)) (removed []string, err error) {
	s, err := c.link.Records(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.ServerTime(ctx)
	if err != nil {
		return nil, err
	}
	old, err := endedBefore(ctx, s, now.Add(-age))
	for _, id := range old {
		switch err := s.Remove(ctx, id); {
		case err == nil:
			removed = append(removed, id)
			if each != nil {
				each(id, len(old))
			}
		case !errors.Is(err, store.ErrUnknownRun) && !errors.Is(err, store.ErrConflict):
			return removed, err
		}
	}
	return removed, err
}

// endedBefore lists the ids of all final runs that had ended by then.
func endedBefore(ctx context.Context, s *store.Store, then time.Time) (ids []string, err error) {
	q := &pb.Query{All: true, States: finalStates(), Limit: pageSize}
	for {
		reply, err := s.Query(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("cannot list runs: %w", err)
		}
		for _, run := range reply.GetRuns() {
			if run.GetEnded().AsTime().Before(then) {
				ids = append(ids, run.GetId())
			}
		}
		if q.Next = reply.GetNext(); q.Next == "" {
			return ids, nil
		}
	}
}

// pageSize of a long list.
const pageSize = 1000
