package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

// ErrNoBucket: there is no such bucket, and Config.Existing makes none.
var ErrNoBucket = errors.New("no such bucket")

const (
	// markerTTL is how long the server keeps the marker of a key that is gone,
	// for watchers to see.
	markerTTL = time.Minute
	// openPatience is for how long a bucket is tried: on a cluster, several that
	// create one at once may all be told to come back, or that it is not there.
	openPatience = 10 * time.Second
	// existingPatience is that of those who make none: a server that has no
	// JetStream, or not in this domain, is to be said soon.
	existingPatience = 2 * time.Second
	// history is how many messages of a key the server may have: each that is
	// written takes back the one before it (see rolledUp).
	history = 2
)

// Config of a bucket. Name is required.
type Config struct {
	Name, Description string
	// Existing opens a bucket that is there, as it is, and makes none: ErrNoBucket.
	Existing bool
	// Replicas: 0 means one for a new bucket and leaves an existing one alone; an
	// existing bucket is never given fewer.
	Replicas int
	// MarkerTTL is how long the marker of a key is kept that has outlived its
	// time: a minute if 0. What is written with a shorter one lives as long.
	MarkerTTL time.Duration
	// Logger says what is odd but no error; nil is silent.
	Logger *slog.Logger
}

// Bucket is one KV bucket. It is safe for concurrent use and needs no Close.
type Bucket struct {
	js      jetstream.JetStream
	nc      *nats.Conn
	kv      jetstream.KeyValue
	stream  jetstream.Stream
	log     stream.Stream
	name    string // the stream's
	subject string // "$KV.<bucket>.", before a key
	publish string // the same as publishers of this account or domain say it
	api     string // "$JS.API." or what stands for it
	direct  bool
	copies  int // replicas
	marker  time.Duration
}

// Open opens a bucket and creates it if it is missing. Many may do so at once. A
// bucket that exists with other settings is used as it is, after what can be
// changed was changed.
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (*Bucket, error) {
	if cfg.MarkerTTL == 0 {
		cfg.MarkerTTL = markerTTL
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	patience := openPatience
	if cfg.Existing {
		patience = existingPatience
	}
	var err error
	for try, began := 0, time.Now(); try == 0 || time.Since(began) < patience; try++ {
		if try > 0 && !stream.Pause(ctx, stream.RetryWait(try)) {
			break
		}
		var b *Bucket
		if b, err = tryOpen(ctx, js, cfg); err == nil {
			return b, nil
		}
		if errors.Is(err, ErrNoBucket) || !stream.IsTransient(err) && !errors.Is(err, jetstream.ErrBucketNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			break
		}
	}
	if errors.Is(err, ErrNoBucket) {
		return nil, err
	}
	return nil, fmt.Errorf("cannot open bucket %s: %w", cfg.Name, err)
}

// tryOpen takes no longer than one answer may: one that is lost, as on a cluster
// that elects, must not take all the time that ctx has.
func tryOpen(ctx context.Context, js jetstream.JetStream, cfg Config) (*Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	var kv jetstream.KeyValue
	var err error
	if cfg.Existing {
		kv, err = js.KeyValue(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return nil, fmt.Errorf("%w: %s", ErrNoBucket, cfg.Name)
		}
	} else {
		kv, err = createOrAdopt(ctx, js, cfg)
	}
	if err != nil {
		return nil, err
	}
	return newBucket(ctx, js, kv)
}

// createOrAdopt looks before it creates: whoever may not make streams may use one.
func createOrAdopt(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.KeyValue, error) {
	have, err := js.Stream(ctx, "KV_"+cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: cfg.Name, Description: cfg.Description,
			History: history, LimitMarkerTTL: cfg.MarkerTTL, Replicas: max(cfg.Replicas, 1),
		})
		if err == nil || !errors.Is(err, jetstream.ErrBucketExists) {
			return kv, err
		}
		have, err = js.Stream(ctx, "KV_"+cfg.Name) // made by somebody else, just now
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	_, err = stream.Update(ctx, js, have, func(c *jetstream.StreamConfig) {
		c.AllowDirect, c.AllowMsgTTL, c.AllowRollup = true, true, true
		c.MaxMsgsPerSubject = history
		if c.SubjectDeleteMarkerTTL == 0 {
			c.SubjectDeleteMarkerTTL = cfg.MarkerTTL
		}
		// Only ever more replicas: a runner that was started without the option
		// must not take them away again.
		c.Replicas = max(c.Replicas, cfg.Replicas)
	})
	var unchanged *stream.UpdateError
	if errors.As(err, &unchanged) {
		if !unchanged.Have.AllowMsgTTL || !unchanged.Have.AllowRollup || stream.IsTransient(unchanged.Err) {
			return nil, unchanged.Err
		}
		cfg.Logger.Warn("cannot change the settings of a bucket; using it as it is", "bucket", cfg.Name, "error", unchanged.Err)
	}
	return js.KeyValue(ctx, cfg.Name)
}

func newBucket(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue) (*Bucket, error) {
	name := "KV_" + kv.Bucket()
	b := &Bucket{
		js: js, nc: js.Conn(), kv: kv, name: name, log: stream.Stream{JS: js, Name: name},
		subject: "$KV." + kv.Bucket() + ".", api: stream.Prefix(js),
	}
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

// Name is the bucket's.
func (b *Bucket) Name() string { return b.kv.Bucket() }

// Subject is where a key is written, such as "$KV.things.a".
func (b *Bucket) Subject(key string) string { return b.subject + key }

// KV is the client's own view of the bucket.
func (b *Bucket) KV() jetstream.KeyValue { return b.kv }

// Conn is the connection that the bucket is used over.
func (b *Bucket) Conn() *nats.Conn { return b.nc }

// Direct says whether the bucket allows direct gets.
func (b *Bucket) Direct() bool { return b.direct }

// Info asks the server for the state of the bucket's stream; its TimeStamp is the
// server's time.
func (b *Bucket) Info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	return b.stream.Info(ctx)
}
