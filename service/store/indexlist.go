package store

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store/index"
	"github.com/runnel-io/runnel/service/store/record"
)

// MakeIndex makes what lists are found by, where there is none yet; without it,
// KeepIndex does once there are enough records.
func (s *Store) MakeIndex(ctx context.Context) error {
	if s.index == nil {
		return nil
	}
	return s.index.Make(ctx)
}

// IndexWanted has something when KeepIndex has something to do.
func (s *Store) IndexWanted() <-chan struct{} {
	if s.index == nil {
		return nil
	}
	return s.index.Wanted()
}

// KeepIndex is for the background: see index.Index.Keep.
func (s *Store) KeepIndex(ctx context.Context) error {
	if s.index == nil {
		return nil
	}
	return s.index.Keep(ctx)
}

// verifyAtLeast candidates are read at a time, also where fewer are wanted: some
// may have been removed since.
const verifyAtLeast = 16

// readTogether blocks are read by one request: runs that lasted are in several.
const readTogether = 4

// listIndexed fills a page by the index and says whether it could, and the last
// revision that it has seen.
func (s *Store) listIndexed(ctx context.Context, p *page, info *jetstream.StreamInfo) (last uint64, done bool, err error) {
	shelf, err := s.index.Shelf(ctx, false)
	var d index.Directory
	if err == nil {
		d, err = shelf.Read(ctx, info.Created)
	}
	if err != nil { // the records are there, index or not
		s.index.Want()
		return 0, false, nil
	}
	if d.Rev > info.State.LastSeq || d.Rev == 0 && info.State.Msgs > 4*index.TailItems {
		s.index.Want()
		return 0, false, nil
	}
	p.clear()
	tail, last := 0, d.Rev
	begin := int64(math.MaxInt64)
	if err := s.runs.Scan(ctx, d.Rev+1, func(e kv.Entry) {
		begin = min(begin, e.Stored.UnixNano())
		last = e.Rev
		tail++
		p.add(e)
	}); err != nil {
		return 0, false, err
	}
	if tail >= index.TailItems {
		s.index.Want()
	}
	if p.full() && p.rows[0].Time > begin { // all that was stored before was created before
		return last, true, nil
	}
	switch err := (indexed{shelf, s.runs}).fill(ctx, p, d); {
	case errors.Is(err, index.ErrDamaged):
		shelf.Damaged(ctx, d)
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	return last, true, nil
}

// indexed are the records, and the index to find them by.
type indexed struct {
	*index.Shelf
	runs *kv.Bucket
}

// fill adds to a page what the blocks of a directory have for it.
func (x indexed) fill(ctx context.Context, p *page, d index.Directory) error {
	blocks, err := x.candidates(ctx, p, d)
	if err != nil {
		return err
	}
	need := index.NeedsOf(p.states, p.Traits)
	var blobs map[string][]byte
	var found []record.Place // that may be for the page, of the blocks that were read
	for i := 0; ; i++ {
		bound := int64(math.MinInt64) // of the blocks that are not read yet
		if i < len(blocks) {
			bound = blocks[i].Max
		}
		if found, err = x.settle(ctx, p, found, bound); err != nil {
			return err
		}
		if i == len(blocks) || p.full() && p.rows[0].Time > bound {
			return nil
		}
		if blobs[blocks[i].Items] == nil {
			var digests []string
			for _, b := range blocks[i:min(i+readTogether, len(blocks))] {
				digests = append(digests, b.Items)
			}
			if blobs, err = x.Get(ctx, digests); err != nil {
				return err
			}
		}
		err = index.EachItem(blobs[blocks[i].Items], func(it index.Item) {
			if (!p.full() || it.Compare(p.rows[0].Place) >= 0) && (p.after == nil || it.Compare(p.after.Place) < 0) &&
				need.In(func(h uint32) bool { return slices.Contains(it.Hashes, h) }) {
				found = append(found, it.Place)
			}
		})
		if err != nil {
			return err
		}
	}
}

// candidates are the blocks that may have something for a page, the newest first.
func (x indexed) candidates(ctx context.Context, p *page, d index.Directory) ([]index.Block, error) {
	need := index.NeedsOf(p.states, p.Traits)
	var blocks []index.Block
	var digests []string
	for _, b := range append(slices.Clone(d.Live), d.Blocks...) {
		if p.after == nil || b.Min <= p.after.Time {
			blocks = append(blocks, b)
			digests = append(digests, b.Hashes)
		}
	}
	if len(need.All)+len(need.States) > 0 && len(blocks) > 0 {
		hashes, err := x.Get(ctx, digests)
		if err != nil {
			return nil, err
		}
		blocks = slices.DeleteFunc(blocks, func(b index.Block) bool {
			return !need.In(func(h uint32) bool { return index.HasHash(hashes[b.Hashes], h) })
		})
	}
	slices.SortFunc(blocks, func(a, b index.Block) int { // the newest first
		switch {
		case a.Max > b.Max:
			return -1
		case a.Max < b.Max:
			return 1
		}
		return 0
	})
	return blocks, nil
}

// settle reads the records of what was found after a time, newest first, until the
// page has all that it can show of them. It returns what is before that time.
func (x indexed) settle(ctx context.Context, p *page, found []record.Place, after int64) (rest []record.Place, err error) {
	slices.SortFunc(found, func(a, b record.Place) int { return b.Compare(a) })
	for len(found) > 0 && found[0].Time > after {
		if p.full() && p.rows[0].Compare(found[0]) > 0 {
			return nil, nil // nor is the rest for this page
		}
		n := max(p.limit+1-len(p.rows), verifyAtLeast)
		var ids []string
		for len(ids) < n && len(found) > 0 && found[0].Time > after {
			ids, found = append(ids, found[0].ID), found[1:]
		}
		records, err := x.runs.GetMany(ctx, ids)
		if err != nil {
			return nil, err
		}
		for _, e := range records {
			p.add(e)
		}
	}
	return found, nil
}
