package store

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/runnel-io/runnel/service/kv"
)

// verifyAtLeast candidates are read at a time, also where fewer are wanted: some
// may have been removed since.
const verifyAtLeast = 16

// readTogether blocks are read by one request: runs that lasted are in several.
const readTogether = 4

// listIndexed fills a page by the index and says whether it could, and the last
// revision that it has seen.
func (s *Store) listIndexed(ctx context.Context, p *page, info *jetstream.StreamInfo) (last uint64, done bool, err error) {
	shelf, err := s.index.shelf(ctx, false)
	var d directory
	if err == nil {
		d, err = shelf.read(ctx, info.Created)
	}
	if err != nil { // the records are there, index or not
		s.index.want()
		return 0, false, nil
	}
	if d.Rev > info.State.LastSeq || d.Rev == 0 && info.State.Msgs > 4*tailItems {
		s.index.want()
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
	if tail >= tailItems {
		s.index.want()
	}
	if p.full() && p.rows[0].time > begin { // all that was stored before was created before
		return last, true, nil
	}
	switch err := shelf.fill(ctx, p, d); {
	case errors.Is(err, errBadBlock):
		shelf.damaged(ctx, d)
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	return last, true, nil
}

// fill adds to a page what the blocks of a directory have for it.
func (x *shelf) fill(ctx context.Context, p *page, d directory) error {
	blocks, err := x.candidates(ctx, p, d)
	if err != nil {
		return err
	}
	need := p.needs()
	var blobs map[string][]byte
	var found []place // that may be for the page, of the blocks that were read
	for i := 0; ; i++ {
		bound := int64(math.MinInt64) // of the blocks that are not read yet
		if i < len(blocks) {
			bound = blocks[i].Max
		}
		if found, err = x.settle(ctx, p, found, bound); err != nil {
			return err
		}
		if i == len(blocks) || p.full() && p.rows[0].time > bound {
			return nil
		}
		if blobs[blocks[i].Items] == nil {
			var digests []string
			for _, b := range blocks[i:min(i+readTogether, len(blocks))] {
				digests = append(digests, b.Items)
			}
			if blobs, err = x.get(ctx, digests); err != nil {
				return err
			}
		}
		err = eachItem(blobs[blocks[i].Items], func(it item) {
			if (!p.full() || it.compare(p.rows[0].place) >= 0) && (p.after == nil || it.compare(p.after.place) < 0) &&
				need.in(func(h uint32) bool { return slices.Contains(it.hashes, h) }) {
				found = append(found, it.place)
			}
		})
		if err != nil {
			return err
		}
	}
}

// candidates are the blocks that may have something for a page, the newest first.
func (x *shelf) candidates(ctx context.Context, p *page, d directory) ([]block, error) {
	need := p.needs()
	var blocks []block
	var digests []string
	for _, b := range append(slices.Clone(d.Live), d.Blocks...) {
		if p.after == nil || b.Min <= p.after.time {
			blocks = append(blocks, b)
			digests = append(digests, b.Hashes)
		}
	}
	if len(need.all)+len(need.states) > 0 && len(blocks) > 0 {
		hashes, err := x.get(ctx, digests)
		if err != nil {
			return nil, err
		}
		blocks = slices.DeleteFunc(blocks, func(b block) bool {
			return !need.in(func(h uint32) bool { return hasHash(hashes[b.Hashes], h) })
		})
	}
	slices.SortFunc(blocks, func(a, b block) int { // the newest first
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
func (x *shelf) settle(ctx context.Context, p *page, found []place, after int64) (rest []place, err error) {
	slices.SortFunc(found, func(a, b place) int { return b.compare(a) })
	for len(found) > 0 && found[0].time > after {
		if p.full() && p.rows[0].compare(found[0]) > 0 {
			return nil, nil // nor is the rest for this page
		}
		n := max(p.limit+1-len(p.rows), verifyAtLeast)
		var ids []string
		for len(ids) < n && len(found) > 0 && found[0].time > after {
			ids, found = append(ids, found[0].id), found[1:]
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
