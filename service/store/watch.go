package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// watch calls each with the entries of the keys (none: all) as they change, and
// before that with what they are now, followed by a nil; given a revision, it
// begins with what came after that instead. After a reconnect it begins again.
// It ends when each says so, or ctx ends (no error).
func (b *bucket) watch(ctx context.Context, keys []string, since uint64, each func(*entry) (more bool)) error {
	// The client's own watch finds out that a server which was restarted knows
	// it no more, but not before 20 s have passed.
	reconnected := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(reconnected)
	for {
		w, cancel, err := b.openWatch(ctx, keys, since)
		if err != nil || w == nil {
			return err
		}
		last, err := follow(ctx, w, reconnected, each)
		_ = w.Stop()
		drain(w)
		cancel()
		if !errors.Is(err, errReconnected) {
			if err != nil {
				err = fmt.Errorf("cannot watch bucket %s: %w", b.kv.Bucket(), err)
			}
			return err
		}
		if since > 0 {
			since = max(since, last)
		}
	}
}

var errReconnected = errors.New("reconnected")

// follow returns the last revision it has seen and why it ended, nil if each or
// ctx wanted that.
func follow(ctx context.Context, w jetstream.KeyWatcher, reconnected <-chan nats.Status, each func(*entry) bool) (last uint64, err error) {
	for {
		select {
		case <-ctx.Done():
			return last, nil
		case _, open := <-reconnected:
			if !open {
				return last, nats.ErrConnectionClosed
			}
			return last, errReconnected
		case update, ok := <-w.Updates():
			if !ok && ctx.Err() == nil {
				return last, nats.ErrConnectionClosed
			}
			if !ok {
				return last, nil
			}
			var e *entry
			if update != nil {
				last = update.Revision()
				e = &entry{key: update.Key(), rev: last, stored: update.Created()}
				if update.Operation() == jetstream.KeyValuePut {
					e.body = update.Value()
				}
			}
			if !each(e) {
				return last, nil
			}
		}
	}
}

// openWatch tries until ctx ends, when it returns nil. The watch lives in a
// context of its own, as the client gives no other way to bound how long it
// takes to open.
func (b *bucket) openWatch(ctx context.Context, keys []string, since uint64) (jetstream.KeyWatcher, context.CancelFunc, error) {
	var options []jetstream.WatchOpt
	if since > 0 {
		options = append(options, jetstream.ResumeFromRevision(since+1))
	}
	for try := 1; ; try++ {
		life, cancel := context.WithCancel(ctx)
		timeout := time.AfterFunc(requestTimeout, cancel)
		w, err := b.kv.WatchFiltered(life, slices.Clone(keys), options...)
		if inTime := timeout.Stop(); err == nil && inTime {
			return w, cancel, nil
		} else if err == nil {
			_ = w.Stop()
			drain(w)
		} else if inTime && ctx.Err() == nil && !isTransient(err) {
			cancel()
			return nil, nil, fmt.Errorf("cannot watch bucket %s: %w", b.kv.Bucket(), err)
		}
		cancel()
		if !pause(ctx, retryWait(try)) {
			return nil, nil, nil
		}
	}
}

// drain waits for the end of a watch that was stopped. It may be about to hand
// over one more entry, and would do so for ever.
func drain(w jetstream.KeyWatcher) {
	for range w.Updates() {
	}
}

// watchAll waits for the first record that matches after a revision.
func (s *Store) watchAll(ctx context.Context, p *page, since uint64) error {
	return s.runs.watch(ctx, nil, since, func(e *entry) bool {
		if e != nil {
			p.add(*e)
		}
		return len(p.rows) == 0
	})
}

// watchListed waits until one of the runs matches. When none can any more, those
// that have the tags stand in the page as they are.
func (s *Store) watchListed(ctx context.Context, p *page, ids []string) error {
	now := make(map[string]entry, len(ids))
	current := false // now is what the bucket held when the watch began, or later
	err := s.runs.watch(ctx, ids, 0, func(e *entry) bool {
		if e == nil {
			current = true
		} else if now[e.key] = *e; current {
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
	if len(p.rows) == 0 && !slices.ContainsFunc(ids, func(id string) bool { return now[id].body != nil }) {
		return unknown(ids[0]) // removed while we waited
	}
	return nil
}

func (p *page) anyCanMatch(now map[string]entry) bool {
	for _, e := range now {
		if e.body == nil {
			continue
		}
		if seen, err := peek(e.body, p.tags); err == nil && p.canMatch(seen) {
			return true
		}
	}
	return false
}
