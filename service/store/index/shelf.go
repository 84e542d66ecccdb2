package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/runnel-io/runnel/service/kv"
)

// Block is a row of the directory.
type Block struct {
	Items  string `json:"items"`  // digest and key of the items
	Hashes string `json:"hashes"` // of the hashes
	Count  int    `json:"count"`
	First  uint64 `json:"first"` // revisions that it covers
	Last   uint64 `json:"last"`
	Min    int64  `json:"min"` // times of its items, Unix, ns
	Max    int64  `json:"max"`
}

// Directory is the whole of the index at a revision.
type Directory struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"` // when the stream of the records was
	Rev     uint64    `json:"rev"`  // the last revision that is covered
	Live    []Block   `json:"live"` // the live records among what is covered
	Blocks  []Block   `json:"blocks"`

	own uint64 // its own revision
}

const directoryVersion = 1

// Shelf is the bucket with the directory and the blocks.
type Shelf struct {
	bucket *kv.Bucket
	want   func()
}

// Read returns the directory of these records; an empty one where there is none
// that is right.
func (x *Shelf) Read(ctx context.Context, made time.Time) (Directory, error) {
	e, err := x.bucket.Get(ctx, directoryKey)
	none := Directory{Version: directoryVersion, Made: made, own: e.Rev}
	if errors.Is(err, kv.ErrNoKey) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("cannot read the index: %w", err)
	}
	d := Directory{own: e.Rev}
	sum, body, ok := bytes.Cut(e.Body, []byte("\n"))
	if !ok || string(sum) != digestOf(body) || json.Unmarshal(body, &d) != nil ||
		d.Version != directoryVersion || !d.Made.Equal(made) {
		return none, nil
	}
	return d, nil
}

// write stores a directory in place of the one that it was made of.
func (x *Shelf) write(ctx context.Context, d Directory) (uint64, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	w := kv.Write{Key: directoryKey, Body: append([]byte(digestOf(body)+"\n"), body...), Expect: d.own, Create: d.own == 0}
	return x.bucket.Put(ctx, w)
}

// Get reads blobs by their digests, and finds out if they are not what they were.
func (x *Shelf) Get(ctx context.Context, digests []string) (map[string][]byte, error) {
	found, err := x.bucket.GetMany(ctx, digests)
	if err != nil {
		return nil, fmt.Errorf("cannot read the index: %w", err)
	}
	blobs := make(map[string][]byte, len(digests))
	for _, digest := range digests {
		e, ok := found[digest]
		if !ok { // perhaps not on that replica yet
			if e, err = x.bucket.GetLeader(ctx, digest); errors.Is(err, kv.ErrNoKey) {
				return nil, ErrDamaged
			} else if err != nil {
				return nil, fmt.Errorf("cannot read the index: %w", err)
			}
		}
		if digestOf(e.Body) != digest {
			return nil, ErrDamaged
		}
		blobs[digest] = e.Body
	}
	return blobs, nil
}

// put stores a blob under its digest.
func (x *Shelf) put(ctx context.Context, blob []byte) (string, error) {
	digest := digestOf(blob)
	return digest, x.bucket.Set(ctx, digest, blob)
}

// alone does the work if nobody else is at it.
func (x *Shelf) alone(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	rev, err := x.bucket.Put(ctx, kv.Write{Key: buildingKey, Body: fmt.Append(nil, time.Now().UnixNano()), Create: true, TTL: buildTime})
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return nil
	}
	if err != nil {
		return err
	}
	err = work(ctx)
	if errors.As(err, &conflict) {
		err = nil // somebody else has stored a directory
	}
	return errors.Join(err, x.bucket.Delete(context.WithoutCancel(ctx), buildingKey, rev, time.Second))
}

// sweep removes all blobs, before an index is made anew: those of a damaged one,
// and of runners that ended before they had stored a directory.
func (x *Shelf) sweep(ctx context.Context) error {
	var blobs []string
	if err := x.bucket.Range(ctx, 1, math.MaxUint64, func(e kv.Entry) bool {
		if e.Body != nil && e.Key != directoryKey && e.Key != buildingKey {
			blobs = append(blobs, e.Key)
		}
		return true
	}); err != nil {
		return err
	}
	for _, digest := range blobs {
		if err := x.remove(ctx, digest); err != nil {
			return err
		}
	}
	return nil
}

func (x *Shelf) remove(ctx context.Context, digest string) error {
	return x.bucket.KV().Purge(ctx, digest, jetstream.PurgeTTL(time.Second))
}

// Damaged forgets a directory whose blocks are not what they were.
func (x *Shelf) Damaged(ctx context.Context, d Directory) {
	_, _ = x.write(ctx, Directory{Version: directoryVersion, Made: d.Made, own: d.own}) // or somebody else did
	x.want()
}

// maxBlob bounds a block, bytes.
func (x *Shelf) maxBlob() int { return int(min(x.bucket.Conn().MaxPayload()/2, 256<<10)) }
