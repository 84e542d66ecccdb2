package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// markerTTL is how long the server keeps the marker of a record that is gone,
// for watchers to see.
const markerTTL = time.Minute

// bucket is one KV bucket and the few things done to it that the client's KV
// has no call for: writes with a TTL, reads of the leader, scans.
type bucket struct {
	js      jetstream.JetStream
	nc      *nats.Conn
	kv      jetstream.KeyValue
	stream  jetstream.Stream
	name    string // the stream's
	subject string // "$KV.<bucket>.", before a key
	publish string // the same as publishers of this account or domain say it
	api     string // "$JS.API." or what stands for it
	direct  bool
	copies  int // replicas
	marker  time.Duration
}

func newBucket(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue) (*bucket, error) {
	b := &bucket{js: js, nc: js.Conn(), kv: kv, name: "KV_" + kv.Bucket(), subject: "$KV." + kv.Bucket() + ".", api: apiPrefix(js.Options())}
	b.publish = b.subject
	if b.api != jetstream.DefaultAPIPrefix {
		// As the client's own KV does: a domain takes the whole subject after its prefix.
		b.publish = b.api + b.subject
	}
	var err error
	if b.stream, err = js.Stream(ctx, b.name); err != nil {
		return nil, err
	}
	cfg := b.stream.CachedInfo().Config
	b.direct, b.copies, b.marker = cfg.AllowDirect, cfg.Replicas, cfg.SubjectDeleteMarkerTTL
	if b.marker == 0 {
		b.marker = markerTTL
	}
	return b, nil
}

func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix == "":
		return jetstream.DefaultAPIPrefix
	case o.APIPrefix[len(o.APIPrefix)-1] != '.':
		return o.APIPrefix + "."
	}
	return o.APIPrefix
}

// entry is a key's value at a revision.
type entry struct {
	key    string
	body   []byte
	rev    uint64
	stored time.Time // by the server's clock
}

// errNoEntry: the key has no value. The entry that comes with it has the
// revision of the marker in its place, 0 if there is none.
var errNoEntry = errors.New("no such key")

// get reads a key from whichever replica answers, and asks the leader before it
// says that there is none.
func (b *bucket) get(ctx context.Context, key string) (entry, error) {
	attempt, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := b.stream.GetLastMsgForSubject(attempt, b.subject+key)
	if err == nil && !isGone(m.Header) {
		return entry{key, m.Data, m.Sequence, m.Time}, nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return entry{}, err
	}
	if b.copies > 1 {
		return b.getLeader(ctx, key)
	}
	return entry{key: key}, errNoEntry
}

// getLeader reads a key from the stream's leader: what it says is what a
// compare-and-set is compared with.
func (b *bucket) getLeader(ctx context.Context, key string) (entry, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]string{"last_by_subj": b.subject + key})
	if err != nil {
		return entry{}, err
	}
	m, err := b.nc.RequestWithContext(ctx, b.api+"STREAM.MSG.GET."+b.name, body)
	if err != nil {
		return entry{}, err
	}
	var reply struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return entry{}, err
	}
	if reply.Error != nil {
		if reply.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return entry{key: key}, errNoEntry
		}
		return entry{}, reply.Error
	}
	if reply.Message == nil {
		return entry{}, errors.New("invalid reply of the server")
	}
	e := entry{key, reply.Message.Data, reply.Message.Sequence, reply.Message.Time}
	if len(reply.Message.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(reply.Message.Header)
		if err != nil {
			return entry{}, err
		}
		if isGone(header) {
			return e, errNoEntry
		}
	}
	return e, nil
}

// purge removes a key at a revision, leaving a marker for those who watch. That
// it is gone already is no error.
func (b *bucket) purge(ctx context.Context, key string, rev uint64) error {
	err := b.kv.Purge(ctx, key, jetstream.LastRevision(rev), jetstream.PurgeTTL(b.marker))
	if err == nil {
		return nil
	}
	if e, err2 := b.getLeader(ctx, key); errors.Is(err2, errNoEntry) {
		return nil
	} else if err2 == nil && e.rev != rev {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// isGone says whether a message is the marker of a key that was deleted, purged
// or has outlived its TTL.
func isGone(h nats.Header) bool {
	return len(h) > 0 && (h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != "")
}
