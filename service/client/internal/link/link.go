// Package link is a client's way to its fleet: it asks runners, opens buckets and
// the queue at their first use, knows the NATS server's time, and hears what that
// server refuses.
package link

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/work"
	"github.com/runnel-io/runnel/subjects"
)

// Config of a Link.
type Config struct {
	NC    *nats.Conn
	JS    jetstream.JetStream
	Space subjects.Space
	// Timeout is how long a runner has to answer.
	Timeout time.Duration
	// OnlineFor is how young the card of an online runner is. Default: 30 s.
	OnlineFor time.Duration
	// Denied makes the error of what the server does not permit: errors.Is has to
	// find nats.ErrPermissionViolation in it.
	Denied func(Denial) error
	// Refused makes the error of what a runner answered instead of a reply.
	Refused func(Refusal) error
}

// Link is the way to one fleet. It is safe for concurrent use.
type Link struct {
	Config
	clock   *store.ServerClock
	denials denials

	mu    sync.Mutex
	store *store.Store
	work  *work.Queue
}

// New makes a Link. It sends nothing yet.
func New(cfg Config) *Link {
	l := &Link{Config: cfg}
	l.clock = l.newClock()
	return l
}

// Records opens the fleet's buckets, at the first use.
func (l *Link) Records(ctx context.Context) (*store.Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != nil {
		return l.store, nil
	}
	ctx, done := l.Deniable(ctx, ReadingRecords)
	defer done()
	s, err := store.Open(ctx, l.JS, l.Space, store.Config{
		Existing:  true, // runners make what is missing, and may
		OnlineFor: l.OnlineFor,
		PurgeLog:  func(ctx context.Context, run *pb.Run) error { return logs.Purge(ctx, l.JS, run) },
	})
	if err != nil {
		return nil, OrDenied(ctx, err)
	}
	l.store = s
	return s, nil
}
