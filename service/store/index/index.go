// Package index makes lists of runs as quick to find as they are long. It is a
// bucket with blocks, each of which tells of the final records that were stored
// between two revisions, and a directory of the blocks: up to which revision they
// go, and which records before that are live. What came later is read from the
// records themselves, and whoever has the time (Keep) makes a block of it when it
// has become long. So a run costs nothing when it starts or ends, whoever wrote a
// record and however old it is.
//
// The record stays the truth: a block only tells which records to look at. Blocks
// are known again by their digests. If one is missing or has changed, or the
// directory has, or the bucket of records is not the one that was indexed, all
// records are read, and a new index is made.
package index

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

const (
	// TailItems records are made a block when so many have come; up to twice as
	// many are read from the bucket by each list.
	TailItems = 512
	// blockItems is what a block may have, where there is so much at once; mergeOf
	// blocks that are smaller become one.
	blockItems = 1024
	mergeOf    = 8
	// directoryKey has the directory; the key of a block has its digest in it.
	directoryKey = "directory"
	buildingKey  = "building"
	// buildTime is how long one may be busy with the index until another is.
	buildTime = time.Minute
)

// Config of an Index.
type Config struct {
	// Open opens the index's bucket, and creates it if told to.
	Open func(ctx context.Context, create bool) (*kv.Bucket, error)
	Runs *kv.Bucket // of the records
	// Final says whether a state never changes.
	Final  func(pb.State) bool
	Logger *slog.Logger
}

// New makes an index; its bucket is opened when it is needed.
func New(cfg Config) *Index { return &Index{cfg: cfg, wanted: make(chan struct{}, 1)} }

// Index is the index of one Store. Its methods are safe for concurrent use.
type Index struct {
	cfg    Config
	wanted chan struct{} // has one when there is something to do
	ended  atomic.Int64  // runs of this Store since the last time

	mu     sync.Mutex
	bucket *kv.Bucket // nil until it is needed: a short life needs none
}

// opened is the index's bucket. Error: ErrNoFleet, if there is none and none is
// to be created.
func (x *Index) opened(ctx context.Context, create bool) (*kv.Bucket, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bucket != nil && create { // somebody may have removed it
		if _, err := x.bucket.Info(ctx); errors.Is(err, jetstream.ErrStreamNotFound) {
			x.bucket = nil
		} else if err != nil {
			return nil, err
		}
	}
	if x.bucket != nil {
		return x.bucket, nil
	}
	b, err := x.cfg.Open(ctx, create)
	if err != nil {
		return nil, err
	}
	x.bucket = b
	return b, nil
}

// Make makes the bucket, where there is none yet; without it, Keep does once
// there are enough records.
func (x *Index) Make(ctx context.Context) error {
	_, err := x.opened(ctx, true)
	return err
}

// HasEnded counts a run, and wants what many of them make necessary.
func (x *Index) HasEnded() {
	if x.ended.Add(1)%(TailItems/2) == 0 {
		x.Want()
	}
}

// Want says that the index should be looked after soon.
func (x *Index) Want() {
	select {
	case x.wanted <- struct{}{}:
	default:
	}
}

// Wanted has something when Keep has something to do: a list found the index
// behind, or damaged.
func (x *Index) Wanted() <-chan struct{} { return x.wanted }

// Shelf opens the bucket of the index.
func (x *Index) Shelf(ctx context.Context, create bool) (*Shelf, error) {
	b, err := x.opened(ctx, create)
	return &Shelf{b, x.Want}, err
}
