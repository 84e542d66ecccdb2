package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/stream"
)

// IndexWanted has something when KeepIndex has something to do: a list found the
// index behind, or damaged.
func (s *Store) IndexWanted() <-chan struct{} {
	if s.index == nil {
		return nil
	}
	return s.index.wanted
}

// KeepIndex makes the index cover what it does not cover yet, if that is enough
// for a block, and makes all of it anew where it is missing or wrong. It is for
// the background: a list finds what it needs without it, only later. Any number
// of runners may call it, as often as they like; one of them does the work.
func (s *Store) KeepIndex(ctx context.Context) error {
	if s.index == nil {
		return nil
	}
	err := s.keepIndex(ctx)
	if err != nil && stream.IsTransient(err) { // NATS is away, which others tell of
		s.cfg.Logger.Debug("the index of runs waits", "error", err)
		return nil
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("cannot keep the index of runs: %w", err)
	}
	return err
}

func (s *Store) keepIndex(ctx context.Context) error {
	info, err := s.runs.Info(ctx)
	if err != nil || info.State.Msgs < tailItems {
		return err
	}
	shelf, err := s.index.shelf(ctx, true)
	if err != nil {
		return err
	}
	d, err := shelf.read(ctx, info.Created)
	if err != nil || d.Rev <= info.State.LastSeq && info.State.LastSeq-d.Rev < tailItems {
		return err
	}
	if d.Rev > info.State.LastSeq { // the bucket was emptied, or put back
		d = directory{Version: directoryVersion, Made: info.Created, own: d.own}
	}
	work := &indexing{shelf: shelf, dir: d, live: map[string]item{}}
	tail, err := work.readTail(ctx)
	if err != nil || len(tail) < tailItems {
		return err
	}
	return shelf.alone(ctx, func(ctx context.Context) error {
		if work.dir.Rev == 0 {
			if err := shelf.sweep(ctx); err != nil {
				return err
			}
		}
		if err := work.loadLive(ctx); errors.Is(err, errBadBlock) {
			shelf.damaged(ctx, d)
			return nil
		} else if err != nil {
			return err
		}
		for len(tail) >= tailItems {
			if err := work.extend(ctx, tail, info.State); err != nil {
				return err
			}
			if tail, err = work.readTail(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// alone does the work if nobody else is at it.
func (x *shelf) alone(ctx context.Context, work func(context.Context) error) error {
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
func (x *shelf) sweep(ctx context.Context) error {
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

func (x *shelf) remove(ctx context.Context, digest string) error {
	return x.bucket.KV().Purge(ctx, digest, jetstream.PurgeTTL(time.Second))
}

// damaged forgets a directory whose blocks are not what they were.
func (x *shelf) damaged(ctx context.Context, d directory) {
	_, _ = x.write(ctx, directory{Version: directoryVersion, Made: d.Made, own: d.own}) // or somebody else did
	x.want()
}

// indexing is one turn of keeping the index.
type indexing struct {
	*shelf
	dir  directory
	live map[string]item // the live records among what is covered
}

func (w *indexing) readTail(ctx context.Context) (tail []kv.Entry, err error) {
	err = w.runs.Range(ctx, w.dir.Rev+1, math.MaxUint64, func(e kv.Entry) bool {
		tail = append(tail, e)
		return len(tail) < blockItems
	})
	return tail, err
}

func (w *indexing) loadLive(ctx context.Context) error {
	for _, b := range w.dir.Live {
		blobs, err := w.get(ctx, []string{b.Items})
		if err != nil {
			return err
		}
		if err := eachItem(blobs[b.Items], func(it item) {
			it.hashes = slices.Clone(it.hashes)
			w.live[it.id] = it
		}); err != nil {
			return err
		}
	}
	return nil
}

// extend makes the directory cover a tail, and stores it.
func (w *indexing) extend(ctx context.Context, tail []kv.Entry, state jetstream.StreamState) error {
	next := w.dir
	next.Rev = tail[len(tail)-1].Rev
	var final []item
	for _, e := range tail {
		delete(w.live, e.Key)
		it, ours := item{}, false
		if e.Body != nil {
			it, ours = itemOf(e)
		}
		switch {
		case !ours:
		case Final(it.state):
			final = append(final, it)
		default:
			w.live[it.id] = it
		}
	}
	// What is covered by a block whose records have all gone needs none.
	next.Blocks = slices.DeleteFunc(slices.Clone(w.dir.Blocks), func(b block) bool { return b.Last < state.FirstSeq })
	blocks, err := w.store(ctx, final, w.dir.Rev+1, next.Rev)
	if err != nil {
		return err
	}
	next.Blocks = append(next.Blocks, blocks...)
	if next.Blocks, err = w.merge(ctx, next.Blocks); err != nil {
		return err
	}
	var live []item
	for _, it := range w.live {
		live = append(live, it)
	}
	if next.Live, err = w.store(ctx, live, 0, next.Rev); err != nil {
		return err
	}
	if next.own, err = w.write(ctx, next); err != nil {
		return err
	}
	w.drop(ctx, w.dir, next)
	w.dir = next
	return nil
}

// maxBlob bounds a block, bytes.
func (x *shelf) maxBlob() int { return int(min(x.bucket.Conn().MaxPayload()/2, 256<<10)) }

// store makes blocks of items, as many as they need.
func (w *indexing) store(ctx context.Context, items []item, first, last uint64) (blocks []block, err error) {
	slices.SortFunc(items, func(a, b item) int { return b.compare(a.place) }) // as lists show them
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && n < blockItems {
			size += itemHead + len(items[n].id) + 4*len(items[n].hashes)
			if n > 0 && size > w.maxBlob() {
				break
			}
			n++
		}
		b := block{Count: n, First: first, Last: last, Min: items[0].time, Max: items[0].time}
		for _, it := range items[:n] {
			b.Min, b.Max = min(b.Min, it.time), max(b.Max, it.time)
		}
		if b.Items, err = w.put(ctx, encodeItems(items[:n])); err != nil {
			return nil, err
		}
		if b.Hashes, err = w.put(ctx, encodeHashes(items[:n])); err != nil {
			return nil, err
		}
		blocks, items = append(blocks, b), items[n:]
	}
	return blocks, nil
}

// merge makes one block of the last ones, if they are many and small.
func (w *indexing) merge(ctx context.Context, blocks []block) ([]block, error) {
	if len(blocks) < mergeOf {
		return blocks, nil
	}
	small := blocks[len(blocks)-mergeOf:]
	sum := small[0]
	sum.Count = 0
	for _, b := range small {
		if b.Count > blockItems/mergeOf*2 {
			return blocks, nil
		}
		sum.Count += b.Count
		sum.Last, sum.Min, sum.Max = max(sum.Last, b.Last), min(sum.Min, b.Min), max(sum.Max, b.Max)
	}
	var digests []string
	for _, b := range small {
		digests = append(digests, b.Items, b.Hashes)
	}
	blobs, err := w.get(ctx, digests)
	if err != nil {
		return nil, err
	}
	var items []byte
	var hashes []uint32
	for _, b := range small {
		items = append(items, blobs[b.Items]...)
		for h := blobs[b.Hashes]; len(h) >= 4; h = h[4:] {
			hashes = append(hashes, binary.LittleEndian.Uint32(h))
		}
	}
	if len(items) > 2*w.maxBlob() {
		return blocks, nil
	}
	if sum.Items, err = w.put(ctx, items); err == nil {
		sum.Hashes, err = w.put(ctx, encodeHashes([]item{{hashes: hashes}}))
	}
	return append(blocks[:len(blocks)-mergeOf:len(blocks)-mergeOf], sum), err
}

// drop removes the blobs that a directory no longer has. One that stays behind
// takes room, and nothing else.
func (w *indexing) drop(ctx context.Context, old, now directory) {
	kept := map[string]bool{}
	for _, b := range slices.Concat(now.Live, now.Blocks) {
		kept[b.Items], kept[b.Hashes] = true, true
	}
	for _, b := range slices.Concat(old.Live, old.Blocks) {
		for _, digest := range []string{b.Items, b.Hashes} {
			if !kept[digest] {
				kept[digest] = true
				_ = w.remove(ctx, digest)
			}
		}
	}
}
