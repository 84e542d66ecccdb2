package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

// Write is what Put does.
type Write struct {
	Key  string
	Body []byte
	// Create: the key must not be there; its marker may be. Expect is then found out.
	Create bool
	// Unremoved, with Create, has the marker of a key that somebody has removed
	// count as a key, for as long as it is kept.
	Unremoved bool
	// Expect is the revision that the key must have.
	Expect uint64
	// TTL removes it after that time, a second at least; 0 keeps it.
	TTL time.Duration
}

// ConflictError says what was there instead of the expected revision; Gone: there
// is at most a marker.
type ConflictError struct {
	Now  Entry
	Gone bool
}

func (e *ConflictError) Error() string { return fmt.Sprintf("revision is %d", e.Now.Rev) }

// Put writes a key if it is at the expected revision and goes on trying until
// the server has said yes or no, or ctx ends. A write whose answer was lost is
// told from another's by its bytes. "No" is a *ConflictError.
func (b *Bucket) Put(ctx context.Context, w Write) (uint64, error) {
	p := stream.Put{Msg: rolledUp(b.publish+w.Key, w.Body), Subject: b.subject + w.Key, Last: w.Expect}
	if w.Create {
		p.Over = func(m stream.Message) bool {
			return isGone(m.Header) && !(w.Unremoved && Entry{Header: m.Header}.Removed())
		}
	}
	if w.TTL > 0 {
		p.Options = []jetstream.PublishOpt{jetstream.WithMsgTTL(w.TTL)}
	}
	rev, err := b.log.Put(ctx, p)
	var conflict *stream.ConflictError
	if errors.As(err, &conflict) {
		now, getErr := b.entryOf(w.Key, conflict.Now)
		return 0, &ConflictError{now, now.Rev == 0 || errors.Is(getErr, ErrNoKey)}
	}
	return rev, err
}

// Set writes a key whatever it has. It tries once.
func (b *Bucket) Set(ctx context.Context, key string, body []byte) error {
	_, err := b.js.PublishMsg(ctx, rolledUp(b.publish+key, body))
	return err
}

// Delete removes a key at a revision and leaves a marker for those who watch,
// for the given time; 0 means the bucket's own. That it is gone already is no
// error. Error: *ConflictError.
func (b *Bucket) Delete(ctx context.Context, key string, rev uint64, marker time.Duration) error {
	if marker == 0 {
		marker = b.marker
	}
	err := b.kv.Purge(ctx, key, jetstream.LastRevision(rev), jetstream.PurgeTTL(marker))
	if err == nil {
		return nil
	}
	if now, getErr := b.GetLeader(ctx, key); errors.Is(getErr, ErrNoKey) {
		return nil
	} else if getErr == nil && now.Rev != rev {
		return &ConflictError{Now: now}
	}
	return err
}

// rolledUp has the server take back what a key had before. It would as well where
// a bucket has no history, but as a limit, which it does not write down: after a
// crash such a message comes back, once the one that came after it is gone.
func rolledUp(subject string, body []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: body, Header: nats.Header{jetstream.MsgRollup: []string{jetstream.MsgRollupSubject}}}
}
