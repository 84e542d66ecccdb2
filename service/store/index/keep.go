package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/stream"
)

// Keep makes the index cover what it does not cover yet, if that is enough
// for a block, and makes all of it anew where it is missing or wrong. It is for
// the background: a list finds what it needs without it, only later. Any number
// of runners may call it, as often as they like; one of them does the work.
func (x *Index) Keep(ctx context.Context) error {
	err := x.keep(ctx)
	if err != nil && stream.IsTransient(err) { // NATS is away, which others tell of
		x.cfg.Logger.Debug("the index of runs waits", "error", err)
		return nil
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("cannot keep the index of runs: %w", err)
	}
	return err
}

func (x *Index) keep(ctx context.Context) error {
	info, err := x.cfg.Runs.Info(ctx)
	if err != nil || info.State.Msgs < TailItems {
		return err
	}
	shelf, err := x.Shelf(ctx, true)
	if err != nil {
		return err
	}
	d, err := shelf.Read(ctx, info.Created)
	if err != nil || d.Rev <= info.State.LastSeq && info.State.LastSeq-d.Rev < TailItems {
		return err
	}
	if d.Rev > info.State.LastSeq { // the bucket was emptied, or put back
		d = Directory{Version: directoryVersion, Made: info.Created, own: d.own}
	}
	work := &indexing{Shelf: shelf, cfg: x.cfg, dir: d, live: map[string]Item{}}
	tail, err := work.readTail(ctx)
	if err != nil || len(tail) < TailItems {
		return err
	}
	return shelf.alone(ctx, func(ctx context.Context) error {
		if work.dir.Rev == 0 {
			if err := shelf.sweep(ctx); err != nil {
				return err
			}
		}
		if err := work.loadLive(ctx); errors.Is(err, ErrDamaged) {
			shelf.Damaged(ctx, d)
			return nil
		} else if err != nil {
			return err
		}
		for len(tail) >= TailItems {
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

// indexing is one turn of keeping the index.
type indexing struct {
	*Shelf
	cfg  Config
	dir  Directory
	live map[string]Item // the live records among what is covered
}

func (w *indexing) readTail(ctx context.Context) (tail []kv.Entry, err error) {
	err = w.cfg.Runs.Range(ctx, w.dir.Rev+1, math.MaxUint64, func(e kv.Entry) bool {
		tail = append(tail, e)
		return len(tail) < blockItems
	})
	return tail, err
}

func (w *indexing) loadLive(ctx context.Context) error {
	for _, b := range w.dir.Live {
		blobs, err := w.Get(ctx, []string{b.Items})
		if err != nil {
			return err
		}
		if err := EachItem(blobs[b.Items], func(it Item) {
			it.Hashes = slices.Clone(it.Hashes)
			w.live[it.ID] = it
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
	var final []Item
	for _, e := range tail {
		delete(w.live, e.Key)
		it, ours := Item{}, false
		if e.Body != nil {
			it, ours = itemOf(e)
		}
		switch {
		case !ours:
		case w.cfg.Final(it.State):
			final = append(final, it)
		default:
			w.live[it.ID] = it
		}
	}
	// What is covered by a block whose records have all gone needs none.
	next.Blocks = slices.DeleteFunc(slices.Clone(w.dir.Blocks), func(b Block) bool { return b.Last < state.FirstSeq })
	blocks, err := w.store(ctx, final, w.dir.Rev+1, next.Rev)
	if err != nil {
		return err
	}
	next.Blocks = append(next.Blocks, blocks...)
	if next.Blocks, err = w.merge(ctx, next.Blocks); err != nil {
		return err
	}
	var live []Item
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

// store makes blocks of items, as many as they need.
func (w *indexing) store(ctx context.Context, items []Item, first, last uint64) (blocks []Block, err error) {
	slices.SortFunc(items, func(a, b Item) int { return b.Compare(a.Place) }) // as lists show them
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && n < blockItems {
			size += itemHead + len(items[n].ID) + 4*len(items[n].Hashes)
			if n > 0 && size > w.maxBlob() {
				break
			}
			n++
		}
		b := Block{Count: n, First: first, Last: last, Min: items[0].Time, Max: items[0].Time}
		for _, it := range items[:n] {
			b.Min, b.Max = min(b.Min, it.Time), max(b.Max, it.Time)
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
func (w *indexing) merge(ctx context.Context, blocks []Block) ([]Block, error) {
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
	blobs, err := w.Get(ctx, digests)
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
		sum.Hashes, err = w.put(ctx, encodeHashes([]Item{{Hashes: hashes}}))
	}
	return append(blocks[:len(blocks)-mergeOf:len(blocks)-mergeOf], sum), err
}

// drop removes the blobs that a directory no longer has. One that stays behind
// takes room, and nothing else.
func (w *indexing) drop(ctx context.Context, old, now Directory) {
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
