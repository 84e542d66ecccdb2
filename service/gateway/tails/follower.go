package tails

import (
	"context"
	"errors"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// follower is one reader of a log.
type follower struct {
	t     *Tails
	run   *pb.Run
	opts  Options
	each  func([]Record) error
	at    Place // the last that he has
	begun bool  // he has what was stored before
}

// readStored gives what is stored now behind where he is, and says whether that
// was the end.
func (f *follower) readStored(ctx context.Context) (ended bool, err error) {
	tip, err := f.t.client.LogTip(ctx, f.run)
	if err != nil {
		return false, err
	}
	opts := client.FollowOptions{FromSeq: f.at.Seq, Sparing: true}
	if !f.begun && (f.opts.FromPos > 1 || f.opts.Tail > 0) {
		if opts.FromSeq, err = f.find(ctx); err != nil {
			return false, err
		}
		if opts.FromSeq == 0 { // nothing of that is there yet
			f.begun, f.at = true, Place{tip.Seq, tip.Records}
			return tip.Ended, nil
		}
	}
	select {
	case f.t.swift <- struct{}{}:
		defer func() { <-f.t.swift }()
		opts.Sparing = false
	default:
	}
	b := &batch{f: f}
	opts.Message = b.message
	_, err = f.t.client.Follow(ctx, f.run, opts, b.record)
	if err == nil {
		err = b.flush()
	}
	f.begun = true
	return b.ended, err
}

// find finds the message that has the first line that is wanted, 0 if it is not
// there yet. Follow gives no line before it, so that it can't count the message's
// records.
func (f *follower) find(ctx context.Context) (seq uint64, err error) {
	opts := client.FollowOptions{FromPos: f.opts.FromPos, Tail: f.opts.Tail, Sparing: true, Message: func(s uint64) { seq = s }}
	found := false
	_, err = f.t.client.Follow(ctx, f.run, opts, func(r lines.Record) error {
		if r.End != nil {
			return nil
		}
		found, f.opts.FromPos = true, r.Pos
		return errFound
	})
	if !found {
		seq = 0
	}
	if errors.Is(err, errFound) {
		err = nil
	}
	return seq, err
}

var errFound = errors.New("found")

// readTail gives what comes. It says whether he has fallen behind what is kept.
func (f *follower) readTail(ctx context.Context, l *tail) (behind bool, err error) {
	var space []Record
	for {
		records, over, ok, changed := l.after(f.at, space)
		space = records
		if !ok {
			return true, nil
		}
		if len(records) > 0 {
			f.at = records[len(records)-1].Place
			if err := f.each(f.wanted(records)); err != nil {
				return false, err
			}
		}
		if over {
			return false, l.err
		}
		if len(records) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// wanted leaves out lines before the first that is wanted.
func (f *follower) wanted(records []Record) []Record {
	for len(records) > 0 && records[0].Pos < f.opts.FromPos && !records[0].End {
		records = records[1:]
	}
	return records
}

// batch collects records of what is stored.
type batch struct {
	f       *follower
	now     Place
	first   bool // a message has come
	records []Record
	size    int
	ended   bool
}

func (b *batch) message(seq uint64) { b.now = Place{Seq: seq} }

func (b *batch) record(r lines.Record) error {
	b.now.Record++
	f := b.f
	if had := f.opts.After; !b.first && !f.begun && had.Seq > 0 && b.now.Seq > had.Seq && f.opts.Reset != nil {
		f.at = Place{} // what it had is no longer there
		if err := f.opts.Reset(); err != nil {
			return err
		}
	}
	b.first = true
	if !f.at.Before(b.now) || r.Pos < f.opts.FromPos && r.End == nil {
		return nil
	}
	rec := recordOf(b.now, r)
	b.records = append(b.records, rec)
	b.size += len(rec.Text)
	b.ended = rec.End
	f.at = b.now
	if len(b.records) >= batchRecords || b.size >= batchBytes {
		return b.flush()
	}
	return nil
}

func (b *batch) flush() error {
	if len(b.records) == 0 {
		return nil
	}
	records := b.records
	b.records, b.size = nil, 0
	return b.f.each(records)
}
