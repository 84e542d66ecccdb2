package kv

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

// Lazy is a bucket that is opened when it is first needed. It is safe for
// concurrent use.
type Lazy struct {
	JS     jetstream.JetStream
	Config Config
	// Like is the stream that has as many replicas as a new bucket gets, where
	// Config says nothing of them.
	Like string

	mu     sync.Mutex
	bucket *Bucket
}

// Open opens the bucket, and makes it if it may. Error: ErrNoBucket.
func (l *Lazy) Open(ctx context.Context, create bool) (*Bucket, error) {
	l.mu.Lock()
	b := l.bucket
	l.mu.Unlock()
	if b != nil {
		return b, nil
	}
	cfg := l.Config
	cfg.Existing = !create
	if create && cfg.Replicas == 0 {
		cfg.Replicas = stream.Replicas(ctx, l.JS, l.Like)
	}
	b, err := Open(ctx, l.JS, cfg)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket = b
	return b, nil
}

// Forget has the next Open look again: somebody may have removed the bucket.
func (l *Lazy) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket = nil
}
