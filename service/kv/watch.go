package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

// Watch calls each with the entries of the keys (none: all) as they change, and
// before that with what they are now, followed by a nil; given a revision, it
// begins with what came after that instead. After a reconnect it begins again.
// It ends when each says so, or ctx ends (no error).
func (b *Bucket) Watch(ctx context.Context, keys []string, since uint64, each func(*Entry) (more bool)) error {
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
func follow(ctx context.Context, w jetstream.KeyWatcher, reconnected <-chan nats.Status, each func(*Entry) bool) (last uint64, err error) {
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
			var e *Entry
			if update != nil {
				last = update.Revision()
				e = &Entry{Key: update.Key(), Rev: last, Stored: update.Created()}
				if update.Operation() == jetstream.KeyValuePut {
					e.Body = update.Value()
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
func (b *Bucket) openWatch(ctx context.Context, keys []string, since uint64) (jetstream.KeyWatcher, context.CancelFunc, error) {
	var options []jetstream.WatchOpt
	if since > 0 {
		options = append(options, jetstream.ResumeFromRevision(since+1))
	}
	for try := 1; ; try++ {
		life, cancel := context.WithCancel(ctx)
		timeout := time.AfterFunc(stream.RequestTimeout, cancel)
		w, err := b.kv.WatchFiltered(life, slices.Clone(keys), options...)
		if inTime := timeout.Stop(); err == nil && inTime {
			return w, cancel, nil
		} else if err == nil {
			_ = w.Stop()
			drain(w)
		} else if inTime && ctx.Err() == nil && !stream.IsTransient(err) {
			cancel()
			return nil, nil, fmt.Errorf("cannot watch bucket %s: %w", b.kv.Bucket(), err)
		}
		cancel()
		if !stream.Pause(ctx, stream.RetryWait(try)) {
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
