package kv

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

// Entry is a key's value at a revision. One without a Body is the marker of a key
// that was removed or has outlived its time.
type Entry struct {
	Key    string
	Body   []byte
	Rev    uint64
	Stored time.Time // by the server's clock
	Header nats.Header
}

// Removed says whether an entry is the marker of a key that somebody has removed,
// and not of one that has outlived its time.
func (e Entry) Removed() bool { return e.Header.Get(operationHeader) != "" }

const operationHeader = "KV-Operation"

// ErrNoKey: the key has no value. The entry that comes with it is the marker in
// its place; its revision is 0 if there is none.
var ErrNoKey = errors.New("no such key")

// Get reads a key from whichever replica answers, and asks the leader before it
// says that there is none. Error: ErrNoKey.
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	attempt, cancel := context.WithTimeout(ctx, stream.AnswerTimeout)
	defer cancel()
	m, err := b.stream.GetLastMsgForSubject(attempt, b.subject+key)
	if err == nil && !isGone(m.Header) {
		return Entry{Key: key, Body: m.Data, Rev: m.Sequence, Stored: m.Time}, nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return Entry{}, err
	}
	if b.copies > 1 {
		return b.GetLeader(ctx, key)
	}
	return Entry{Key: key}, ErrNoKey
}

// GetLeader reads a key from the stream's leader: what it says is what a
// compare-and-set is compared with. Error: ErrNoKey.
func (b *Bucket) GetLeader(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.AnswerTimeout)
	defer cancel()
	m, err := b.log.Last(ctx, b.subject+key)
	if errors.Is(err, stream.ErrNoMessage) {
		return Entry{Key: key}, ErrNoKey
	}
	if err != nil {
		return Entry{}, err
	}
	return b.entryOf(key, m)
}

// entryOf makes an entry of a key's last message, and ErrNoKey of its marker.
func (b *Bucket) entryOf(key string, m stream.Message) (Entry, error) {
	if isGone(m.Header) {
		return Entry{Key: key, Rev: m.Seq, Stored: m.Time, Header: m.Header}, ErrNoKey
	}
	return Entry{Key: key, Body: m.Data, Rev: m.Seq, Stored: m.Time}, nil
}

// isGone says whether a message is the marker of a key that was deleted, purged
// or has outlived its TTL.
func isGone(h nats.Header) bool {
	return len(h) > 0 && (h.Get(operationHeader) != "" || h.Get(jetstream.MarkerReasonHeader) != "")
}
