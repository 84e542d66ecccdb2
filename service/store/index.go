package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/runnel-io/runnel/service/kv"
)

// The index makes lists as quick to find as they are long. It is a bucket with
// blocks, each of which tells of the final records that were stored between two
// revisions, and a directory of the blocks: up to which revision they go, and
// which records before that are live. What came later is read from the records
// themselves, and whoever has the time (KeepIndex) makes a block of it when it
// has become long. So a run costs nothing when it starts or ends, whoever wrote
// a record and however old it is.
//
// The record stays the truth: all that a block tells is which records to look
// at. Blocks are known again by their digests. If one is missing or another one
// than it was, or the directory is, or the bucket of records is not the one that
// was indexed, all records are read, and a new index is made.

const (
	// tailItems records are made a block when so many have come; up to twice as
	// many are read from the bucket by each list.
	tailItems = 512
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

// block is a row of the directory.
type block struct {
	Items  string `json:"items"`  // digest and key of the items
	Hashes string `json:"hashes"` // of the hashes
	Count  int    `json:"count"`
	First  uint64 `json:"first"` // revisions that it covers
	Last   uint64 `json:"last"`
	Min    int64  `json:"min"` // times of its items, Unix, ns
	Max    int64  `json:"max"`
}

// directory is the whole of the index at a revision.
type directory struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"` // when the stream of the records was
	Rev     uint64    `json:"rev"`  // the last revision that is covered
	Live    []block   `json:"live"` // the live records among what is covered
	Blocks  []block   `json:"blocks"`

	own uint64 // its own revision
}

const directoryVersion = 1

// index is the index of one Store. Its methods are safe for concurrent use.
type index struct {
	open   func(ctx context.Context, create bool) (*kv.Bucket, error)
	runs   *kv.Bucket
	wanted chan struct{} // has one when there is something to do
	ended  atomic.Int64  // runs of this Store since the last time

	mu     sync.Mutex
	bucket *kv.Bucket // nil until it is needed: a short life needs none
}

// opened is the index's bucket. Error: ErrNoFleet, if there is none and none is
// to be created.
func (x *index) opened(ctx context.Context, create bool) (*kv.Bucket, error) {
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
	b, err := x.open(ctx, create)
	if err != nil {
		return nil, err
	}
	x.bucket = b
	return b, nil
}

// MakeIndex makes what lists are found by, where there is none yet; without it,
// KeepIndex does once there are enough records.
func (s *Store) MakeIndex(ctx context.Context) error {
	if s.index == nil {
		return nil
	}
	_, err := s.index.opened(ctx, true)
	return err
}

// hasEnded counts a run, and wants what many of them make necessary.
func (x *index) hasEnded() {
	if x.ended.Add(1)%(tailItems/2) == 0 {
		x.want()
	}
}

// want says that the index should be looked after soon.
func (x *index) want() {
	select {
	case x.wanted <- struct{}{}:
	default:
	}
}

// shelf is the bucket with the directory and the blocks.
type shelf struct {
	bucket *kv.Bucket
	runs   *kv.Bucket
	want   func()
}

func (x *index) shelf(ctx context.Context, create bool) (*shelf, error) {
	b, err := x.opened(ctx, create)
	return &shelf{b, x.runs, x.want}, err
}

// read returns the directory of these records; an empty one where there is none
// that is right.
func (x *shelf) read(ctx context.Context, made time.Time) (directory, error) {
	e, err := x.bucket.Get(ctx, directoryKey)
	none := directory{Version: directoryVersion, Made: made, own: e.Rev}
	if errors.Is(err, kv.ErrNoKey) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("cannot read the index: %w", err)
	}
	d := directory{own: e.Rev}
	sum, body, ok := bytes.Cut(e.Body, []byte("\n"))
	if !ok || string(sum) != digestOf(body) || json.Unmarshal(body, &d) != nil ||
		d.Version != directoryVersion || !d.Made.Equal(made) {
		return none, nil
	}
	return d, nil
}

// write stores a directory in place of the one that it was made of.
func (x *shelf) write(ctx context.Context, d directory) (uint64, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	w := kv.Write{Key: directoryKey, Body: append([]byte(digestOf(body)+"\n"), body...), Expect: d.own, Create: d.own == 0}
	return x.bucket.Put(ctx, w)
}

// get reads blobs by their digests, and finds out if they are not what they were.
func (x *shelf) get(ctx context.Context, digests []string) (map[string][]byte, error) {
	found, err := x.bucket.GetMany(ctx, digests)
	if err != nil {
		return nil, fmt.Errorf("cannot read the index: %w", err)
	}
	blobs := make(map[string][]byte, len(digests))
	for _, digest := range digests {
		e, ok := found[digest]
		if !ok { // perhaps not on that replica yet
			if e, err = x.bucket.GetLeader(ctx, digest); errors.Is(err, kv.ErrNoKey) {
				return nil, errBadBlock
			} else if err != nil {
				return nil, fmt.Errorf("cannot read the index: %w", err)
			}
		}
		if digestOf(e.Body) != digest {
			return nil, errBadBlock
		}
		blobs[digest] = e.Body
	}
	return blobs, nil
}

// put stores a blob under its digest.
func (x *shelf) put(ctx context.Context, blob []byte) (string, error) {
	digest := digestOf(blob)
	return digest, x.bucket.Set(ctx, digest, blob)
}
