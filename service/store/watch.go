package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/record"
)

// watchAll waits for the first record that matches after a revision.
func (s *Store) watchAll(ctx context.Context, p *page, since uint64) error {
	return s.runs.Watch(ctx, nil, since, func(e *kv.Entry) bool {
		if e != nil {
			p.add(*e)
		}
		return len(p.rows) == 0
	})
}

// watchListed waits until one of the runs matches. When none can any more, those
// that have the tags stand in the page as they are.
func (s *Store) watchListed(ctx context.Context, p *page, ids []string) error {
	now := make(map[string]kv.Entry, len(ids))
	current := false // now is what the bucket held when the watch began, or later
	err := s.runs.Watch(ctx, ids, 0, func(e *kv.Entry) bool {
		if e == nil {
			current = true
		} else if now[e.Key] = *e; current {
			p.add(*e)
		}
		if !current {
			return true
		}
		if e == nil {
			for _, e := range now {
				p.add(e)
			}
		}
		return len(p.rows) == 0 && p.anyCanMatch(now)
	})
	if err != nil || len(p.rows) > 0 || ctx.Err() != nil || p.anyCanMatch(now) {
		return err
	}
	states := p.states
	p.states = nil
	for _, e := range now {
		p.add(e)
	}
	p.states = states
	if len(p.rows) == 0 && !slices.ContainsFunc(ids, func(id string) bool { return now[id].Body != nil }) {
		return unknown(ids[0]) // removed while we waited
	}
	return nil
}

func (p *page) anyCanMatch(now map[string]kv.Entry) bool {
	for id, e := range p.waiting {
		if now[id].Rev == 0 { // it may still begin
			now[id] = e
		}
	}
	for _, e := range now {
		if e.Body == nil {
			continue
		}
		if seen, err := record.Peek(e.Body, p.Traits); err == nil && p.canMatch(seen) {
			return true
		}
	}
	return false
}

// Follow tells of every record that is written from now on, by its id; run reads
// it, and is nil where it was removed. It returns when ctx ends, which is no error.
// began is called once, when nothing can be missed any more.
func (s *Store) Follow(ctx context.Context, began func(), each func(id string, run func() (*pb.Run, error))) error {
	info, err := s.runs.Info(ctx)
	if err != nil {
		return fmt.Errorf("cannot follow the runs: %w", err)
	}
	since := info.State.LastSeq
	began()
	return s.runs.Watch(ctx, nil, since, func(e *kv.Entry) bool {
		switch {
		case e == nil || e.Rev <= since:
		case e.Body == nil:
			each(e.Key, nil)
		default:
			each(e.Key, func() (*pb.Run, error) { return record.Decode(e.Body) })
		}
		return true
	})
}
