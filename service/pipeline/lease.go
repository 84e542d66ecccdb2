package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/service/kv"
)

// leaseKey is the key that only one engine can hold.
const leaseKey = "lease"

// lease is the right to decide about jobs. It is a key that the server removes
// when it is not written again in time. It alone protects nothing: an engine
// that was stopped for a while believes in it for a moment too long. What
// protects is that whoever takes it rewrites every head and every unfinished
// job, so that what an earlier holder has in hand is at the wrong revision.
type lease struct {
	e    *Engine
	rev  atomic.Uint64 // the queues read it while it is renewed
	body []byte
	till time.Time // by this host's monotonic clock
}

// holder is what the lease's key tells.
type holder struct {
	Engine string    `json:"engine"`
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`
}

// takeLease waits until the lease is free and takes it.
func (e *Engine) takeLease(ctx context.Context) (*lease, error) {
	body, err := json.Marshal(holder{e.cfg.Name, ulid.Make().String(), time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	l := &lease{e: e, body: body}
	for ctx.Err() == nil {
		began := time.Now()
		rev, err := e.defs.Put(ctx, kv.Write{Key: leaseKey, Body: body, Create: true, TTL: e.cfg.Lease})
		if err == nil {
			l.rev.Store(rev)
			l.till = began.Add(e.cfg.Lease)
			return l, nil
		}
		var conflict *kv.ConflictError
		if !errors.As(err, &conflict) {
			return nil, err
		}
		if err := e.waitForLease(ctx); err != nil {
			return nil, err
		}
	}
	return nil, context.Cause(ctx)
}

// waitForLease returns when nobody holds the lease, or after its time: the marker
// of its end can be missed with a server that was lost.
func (e *Engine) waitForLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Lease)
	defer cancel()
	current := false
	held := false
	return e.defs.Watch(ctx, []string{leaseKey}, 0, func(entry *kv.Entry) bool {
		if entry == nil {
			current = true
		} else {
			held = entry.Body != nil
		}
		return !current || held
	})
}

// keep writes the lease again and again until ctx ends or it is lost.
func (l *lease) keep(ctx context.Context) error {
	for {
		pause(ctx, l.e.cfg.Lease/3)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		began := time.Now()
		try, cancel := context.WithDeadline(ctx, l.till)
		rev, err := l.e.defs.Put(try, kv.Write{Key: leaseKey, Body: l.body, Expect: l.rev.Load(), TTL: l.e.cfg.Lease})
		cancel()
		var conflict *kv.ConflictError
		switch {
		case err == nil:
			l.rev.Store(rev)
			l.till = began.Add(l.e.cfg.Lease)
		case errors.As(err, &conflict):
			return errFenced
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			return fmt.Errorf("cannot renew the lease: %w", err)
		}
	}
}

// release gives the lease back, if it is still ours.
func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.e.defs.Delete(ctx, leaseKey, l.rev.Load(), 0); err != nil {
		l.e.log.Debug("cannot give the lease back; it ends by itself", "error", err)
	}
}
