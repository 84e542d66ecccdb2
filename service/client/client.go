package client

import (
	"context"
	"fmt"
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

// DefaultTimeout is how long a runner has to answer.
const DefaultTimeout = 5 * time.Second

// Options of a Client. The zero value is the default prefix and timeout.
type Options struct {
	// Prefix of all subjects. Default: "runner".
	Prefix string
	// Timeout is how long a runner has to answer. Default: 5 s.
	Timeout time.Duration
	// JetStream replaces jetstream.New(nc), for an API prefix or a domain.
	JetStream jetstream.JetStream
	// OnlineFor is how young the card of an online runner is. Default: 30 s.
	OnlineFor time.Duration
}

// Client asks one fleet. It is safe for concurrent use.
type Client struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	space   subjects.Space
	timeout time.Duration
	online  time.Duration

	clock   *store.ServerClock
	denials denials
	ahead   logs.Ahead // of the readers of logs

	mu    sync.Mutex
	store *store.Store
	work  *work.Queue
}

// New makes a client. It doesn't talk to anybody yet.
func New(nc *nats.Conn, opts Options) (*Client, error) {
	space, err := subjects.New(opts.Prefix)
	if err != nil {
		return nil, err
	}
	js := opts.JetStream
	if js == nil {
		if js, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("cannot use JetStream: %w", err)
		}
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	c := &Client{nc: nc, js: js, space: space, timeout: opts.Timeout, online: opts.OnlineFor}
	c.clock = c.newClock()
	return c, nil
}

// Space is where the fleet lives.
func (c *Client) Space() subjects.Space { return c.space }

// records opens the fleet's buckets, at the first use.
func (c *Client) records(ctx context.Context) (*store.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store != nil {
		return c.store, nil
	}
	ctx, done := c.deniable(ctx, isJetStream)
	defer done()
	s, err := store.Open(ctx, c.js, c.space, store.Config{
		Existing:  true, // runners make what is missing, and may
		OnlineFor: c.online,
		PurgeLog:  func(ctx context.Context, run *pb.Run) error { return logs.Purge(ctx, c.js, run) },
	})
	if err != nil {
		return nil, orDenied(ctx, err)
	}
	c.store = s
	return s, nil
}
