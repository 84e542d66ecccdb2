// Package tails follows the logs of runs for any number of readers, with one
// reader of each log at a time.
//
// What comes is kept for a while in memory that all followers of a log share. A
// follower first reads what is stored, by itself, and then from there; one that is
// slower than the log falls behind what is kept and reads what is stored again. So a
// slow follower delays nobody and misses nothing.
package tails

import (
	"bytes"
	"context"
	"math"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/store"
)

const (
	// keptBytes bounds what the tails of all logs keep, and leastBytes is what one
	// may keep at least.
	keptBytes  = 8 << 20
	leastBytes = 256 << 10
	// swiftReaders may read what is stored by a consumer, which the server sends
	// ahead; all others have one message at a time.
	swiftReaders = 4
	// batchRecords and batchBytes bound what a follower gets at once, and holds
	// while its client takes it.
	batchRecords = 200
	batchBytes   = 16 << 10
)

// Record of a log, as its line of JSON.
type Record struct {
	Place
	Pos  int64
	Text []byte
	End  bool // it is the last: EOF
}

// Options say where a follower begins: behind a record, at a line, or so many
// lines before the end; at most one of them.
type Options struct {
	After   Place
	FromPos int64
	Tail    int64
	// Reset, if set, is called when the record of After is no longer there, and
	// everything comes that is.
	Reset func() error
}

// Tails are those of one gateway. Make them with New, end them with Close.
type Tails struct {
	client *client.Client
	life   context.Context
	die    context.CancelFunc
	wg     sync.WaitGroup
	swift  chan struct{}

	mu   sync.Mutex
	logs map[string]*tail // by run
}

// New makes tails of nothing.
func New(c *client.Client) *Tails {
	t := &Tails{client: c, logs: map[string]*tail{}, swift: make(chan struct{}, swiftReaders)}
	t.life, t.die = context.WithCancel(context.Background())
	return t
}

// Close ends all reading.
func (t *Tails) Close() {
	t.die()
	t.wg.Wait()
}

// tail is the end of one log, which is being written.
type tail struct {
	owner     *Tails
	followers int // guarded by owner.mu
	stop      context.CancelFunc

	mu      sync.Mutex
	kept    []Record
	bytes   int
	before  Place // everything behind it that has come is kept
	last    Place // the newest that has come
	over    bool
	err     error
	changed chan struct{} // closed at the next change; nil if nobody waits for it
}

// Follow gives a follower everything behind where he begins, in order and once,
// until the log has ended. An error of each ends it.
func (t *Tails) Follow(ctx context.Context, run *pb.Run, opts Options, each func([]Record) error) error {
	f := &follower{t: t, run: run, opts: opts, at: opts.After, each: each}
	if store.Final(run.GetState()) {
		_, err := f.readStored(ctx)
		return err
	}
	l, err := t.join(ctx, run)
	if err != nil {
		return err
	}
	defer t.leave(run, l)
	if l.reaches(f.at) && opts.FromPos <= 1 && opts.Tail == 0 {
		f.begun = true
	}
	for {
		if !f.begun || !l.reaches(f.at) {
			if ended, err := f.readStored(ctx); err != nil || ended {
				return err
			}
		}
		if again, err := f.readTail(ctx, l); err != nil || !again {
			return err
		}
	}
}

// join begins to read a log, or joins those who do.
func (t *Tails) join(ctx context.Context, run *pb.Run) (*tail, error) {
	t.mu.Lock()
	l := t.logs[run.GetId()]
	if l != nil {
		l.followers++
		t.mu.Unlock()
		return l, nil
	}
	t.mu.Unlock()
	tip, err := t.client.LogTip(ctx, run)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.logs[run.GetId()]; l != nil {
		l.followers++
		return l, nil
	}
	l = &tail{owner: t, followers: 1}
	if tip.Seq > 1 {
		l.before = Place{tip.Seq - 1, math.MaxInt}
	}
	l.last = l.before
	life, stop := context.WithCancel(t.life)
	l.stop = stop
	t.logs[run.GetId()] = l
	t.wg.Go(func() { l.read(life, run, tip.Seq) })
	return l, nil
}

// leave ends the reading of a log when its last follower has left.
func (t *Tails) leave(run *pb.Run, l *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.followers--; l.followers == 0 {
		l.stop()
		if t.logs[run.GetId()] == l {
			delete(t.logs, run.GetId())
		}
	}
}

// forget: who comes later begins anew.
func (t *Tails) forget(run *pb.Run, l *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.logs[run.GetId()] == l {
		delete(t.logs, run.GetId())
	}
}

// room is how much one tail may keep.
func (t *Tails) room() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(keptBytes/max(len(t.logs), 1), leastBytes)
}

// read reads a log to its end.
func (l *tail) read(ctx context.Context, run *pb.Run, fromSeq uint64) {
	var now Place
	room := l.owner.room()
	_, err := l.owner.client.Follow(ctx, run, client.FollowOptions{Live: true, FromSeq: fromSeq, Message: func(seq uint64) {
		now = Place{Seq: seq}
		room = l.owner.room()
	}}, func(r lines.Record) error {
		now.Record++
		l.keep(recordOf(now, r), room)
		return nil
	})
	l.owner.forget(run, l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over, l.err = true, err
	l.wake()
}

// wake tells those who wait; l.mu is held.
func (l *tail) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func recordOf(at Place, r lines.Record) Record {
	return Record{Place: at, Pos: r.Pos, Text: bytes.TrimSuffix(lines.AppendJSON(nil, r), []byte{'\n'}), End: r.End != nil}
}

// recordCost is what a record takes beside its text.
const recordCost = 112

func (l *tail) keep(r Record, room int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, r)
	l.bytes += len(r.Text) + recordCost
	l.last = r.Place
	drop := 0
	for l.bytes > room && drop < len(l.kept)-1 {
		l.bytes -= len(l.kept[drop].Text) + recordCost
		l.before = l.kept[drop].Place
		l.kept[drop] = Record{}
		drop++
	}
	l.kept = l.kept[drop:]
	l.wake()
}

// reaches says whether everything behind a place is kept, or is to come.
func (l *tail) reaches(at Place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !at.Before(l.before)
}

// after gives some of what is kept behind a place, in the space of records: if
// there is nothing, changed says when there is. It is not ok if some of that is no
// longer kept.
func (l *tail) after(at Place, space []Record) (records []Record, over, ok bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.Before(l.before) {
		return nil, false, false, nil
	}
	low, high := 0, len(l.kept)
	for low < high {
		if middle := (low + high) / 2; at.Before(l.kept[middle].Place) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	size := 0
	records = space[:0]
	for low < len(l.kept) && len(records) < batchRecords && size < batchBytes {
		records = append(records, l.kept[low])
		size += len(l.kept[low].Text)
		low++
	}
	if len(records) == 0 && l.changed == nil {
		l.changed = make(chan struct{})
	}
	return records, l.over && low == len(l.kept), true, l.changed
}
