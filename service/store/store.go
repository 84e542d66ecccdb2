package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/index"
	"github.com/runnel-io/runnel/subjects"
)

// Defaults of Config.
const (
	DefaultRetention = 7 * 24 * time.Hour
	DefaultOnlineFor = 30 * time.Second
	DefaultLostAfter = time.Minute
	// MinRetention is the shortest time that records are kept for: what is asked
	// for twice must not start twice.
	MinRetention = 24 * time.Hour
	// RemovedFor is how long the id of a run that was removed can't be used again.
	RemovedFor      = 24 * time.Hour
	defaultMaxWaits = 64
	defaultMaxScans = 4
)

// Config of a Store. The zero value is what a single server wants.
type Config struct {
	// Existing opens buckets that are there, as they are, and makes none: ErrNoFleet.
	Existing bool
	// Replicas of both buckets. 0 means one for a new bucket and leaves an
	// existing one alone; an existing bucket is never given fewer.
	Replicas int
	// Retention is how long the record of a final run is kept: MinRetention at
	// least, and no shorter than its output (LogAge), which an id that comes back
	// would run into. 0 means DefaultRetention, or LogAge if that is longer.
	Retention time.Duration
	// LogAge is how long output is kept; 0 says nothing.
	LogAge time.Duration
	// KeepCount is how many final runs Prune leaves; 0 means all.
	KeepCount int
	// PurgeLog removes a run's output; Remove and Prune call it before they
	// remove the record. Nil leaves the output to the log stream's own limits.
	PurgeLog func(context.Context, *pb.Run) error
	// OnlineFor is how young the card of an online runner is: DefaultOnlineFor if 0.
	OnlineFor time.Duration
	// LostAfter is how old a runner's card must be for its runs to be lost:
	// DefaultLostAfter if 0.
	LostAfter time.Duration
	// Logger says what is odd but no error; nil is silent.
	Logger *slog.Logger

	least time.Duration // tests have no day: in place of MinRetention
}

func (c Config) withDefaults() (Config, error) {
	if c.Retention == 0 {
		c.Retention = max(DefaultRetention, c.LogAge)
	}
	if c.OnlineFor == 0 {
		c.OnlineFor = DefaultOnlineFor
	}
	if c.LostAfter == 0 {
		c.LostAfter = DefaultLostAfter
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Retention < cmp.Or(c.least, MinRetention):
		return c, fmt.Errorf("cannot keep records for %s: it must be a day at least, or the same request could start again; remove single runs instead", c.Retention)
	case c.Retention < c.LogAge:
		return c, fmt.Errorf("cannot keep records for %s and logs for %s: a record must be kept as long as its log at least; keep records longer, or logs shorter", c.Retention, c.LogAge)
	case c.KeepCount < 0:
		return c, fmt.Errorf("cannot keep %d runs", c.KeepCount)
	case c.Replicas < 0:
		return c, fmt.Errorf("cannot have %d replicas", c.Replicas)
	}
	return c, nil
}

// Store is a fleet's records. It is safe for concurrent use, starts no
// goroutine that outlives a call, and needs no Close.
type Store struct {
	cfg   Config
	runs  *kv.Bucket
	fleet *kv.Bucket
	index *index.Index  // nil: lists read the records themselves
	waits chan struct{} // a place for each query that waits
	scans chan struct{} // a place for each list that scans

	mu    sync.Mutex
	marks map[string]mark // of the live records that this Store wrote last
}

// mark is the state a record has at a revision: it saves Update a read.
type mark struct {
	rev   uint64
	state pb.State
}

// Open opens the buckets of a fleet and creates what is missing. Any number of
// runners may do so at once. A bucket that exists with other settings is used
// as it is, after what can be changed was changed.
func Open(ctx context.Context, js jetstream.JetStream, space subjects.Space, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg:   cfg,
		waits: make(chan struct{}, defaultMaxWaits),
		scans: make(chan struct{}, defaultMaxScans),
		marks: make(map[string]mark),
	}
	if s.runs, err = openBucket(ctx, js, cfg, bucketName{space.RunsBucket(), "Runnel: runs of fleet " + space.Prefix()}); err != nil {
		return nil, err
	}
	if s.fleet, err = openBucket(ctx, js, cfg, bucketName{space.FleetBucket(), "Runnel: runners of fleet " + space.Prefix()}); err != nil {
		return nil, err
	}
	// Those who only ask for what exists make no index, and it is read by direct gets.
	if !cfg.Existing && s.runs.Direct() {
		s.index = s.newIndex(js, space)
	}
	return s, nil
}

func (s *Store) newIndex(js jetstream.JetStream, space subjects.Space) *index.Index {
	open := func(ctx context.Context, create bool) (*kv.Bucket, error) {
		cfg := s.cfg
		cfg.Existing = !create
		return openBucket(ctx, js, cfg, bucketName{space.IndexBucket(), "Runnel: index of the runs of fleet " + space.Prefix() + ", made anew if it is removed"})
	}
	return index.New(index.Config{Open: open, Runs: s.runs, Final: Final, Logger: s.cfg.Logger})
}

// bucketName is a bucket's name, and what an operator reads beside it.
type bucketName struct{ name, description string }

func openBucket(ctx context.Context, js jetstream.JetStream, cfg Config, n bucketName) (*kv.Bucket, error) {
	b, err := kv.Open(ctx, js, kv.Config{
		Name: n.name, Description: n.description, Existing: cfg.Existing, Replicas: cfg.Replicas, Logger: cfg.Logger,
		// What is written lives as long as a marker at least.
		MarkerTTL: min(time.Minute, cfg.Retention),
	})
	if errors.Is(err, kv.ErrNoBucket) {
		return nil, ErrNoFleet
	}
	return b, err
}
