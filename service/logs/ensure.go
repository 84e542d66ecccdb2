package logs

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// DefaultMaxAge is how long output is kept.
const DefaultMaxAge = 7 * 24 * time.Hour

// storeShare is the part of the account's storage that logs take where MaxBytes isn't given.
const storeShare = 10

// StreamConfig says how the log stream is to be. A zero field is the default for a new stream, and leaves an existing one
// as it is: what an operator has changed is not undone.
type StreamConfig struct {
	Replicas int           // default 1
	MaxAge   time.Duration // default 7 days
	MaxBytes int64         // default: a tenth of the account's storage, if that is limited
	Memory   bool          // keep a new stream in memory
}

// EnsureStream makes the stream of a fleet's logs, or updates it. Many may do so at once.
func EnsureStream(ctx context.Context, js jetstream.JetStream, space subjects.Space, cfg StreamConfig) error {
	create := func() (jetstream.StreamConfig, error) { return newStream(ctx, js, space, cfg) }
	_, err := stream.Ensure(ctx, js, stream.Wanted{Name: space.LogStream(), Create: create, Change: func(have *jetstream.StreamConfig) {
		if cfg.Replicas > 0 {
			have.Replicas = cfg.Replicas
		}
		if cfg.MaxAge > 0 {
			have.MaxAge = cfg.MaxAge
		}
		if cfg.MaxBytes > 0 {
			have.MaxBytes = cfg.MaxBytes
		}
	}})
	return err
}

// MaxAge is how long the stream of a fleet's logs keeps them; 0: for ever.
func MaxAge(ctx context.Context, js jetstream.JetStream, space subjects.Space) (time.Duration, error) {
	s, err := js.Stream(ctx, space.LogStream())
	if err != nil {
		return 0, fmt.Errorf("cannot read the settings of stream %s: %w", space.LogStream(), err)
	}
	return s.CachedInfo().Config.MaxAge, nil
}

func newStream(ctx context.Context, js jetstream.JetStream, space subjects.Space, cfg StreamConfig) (jetstream.StreamConfig, error) {
	want := jetstream.StreamConfig{
		Name:        space.LogStream(),
		Description: "Output of runs, a subject each; see Runnel's docs/wire",
		Subjects:    []string{space.LogAll()},
		Discard:     jetstream.DiscardOld,
		Replicas:    max(cfg.Replicas, 1),
		MaxAge:      cfg.MaxAge,
		MaxBytes:    cfg.MaxBytes,
	}
	if cfg.Memory {
		want.Storage = jetstream.MemoryStorage
	}
	if want.MaxAge <= 0 {
		want.MaxAge = DefaultMaxAge
	}
	if want.MaxBytes > 0 {
		return want, nil
	}
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return want, err
	}
	limit := account.Limits.MaxStore
	if cfg.Memory {
		limit = account.Limits.MaxMemory
	}
	want.MaxBytes = -1
	if limit > 0 {
		want.MaxBytes = limit / storeShare
	}
	return want, nil
}
