// Package feed follows a bucket for everybody at a gateway who wants to know
// what changes in it: one watch, however many there are.
//
// A feed is the newest state of each key, in the order of the changes. A reader keeps
// the revision that it has seen and asks for what came after it: steps in between may
// be skipped, the last one is never lost, and a slow reader costs nothing. Old changes
// are let go of; a reader behind them begins again.
package feed

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
)

const (
	// markerLife is how long the bucket shows for certain that a key is gone:
	// kv's markers live a minute. What a reader missed before that is not known.
	markerLife = 45 * time.Second
	// lookBack is how many changes from before its start a feed reads.
	lookBack = 1000
	// openPause is how long a feed waits for a bucket that nobody has made yet.
	openPause = time.Second
)

// Config of a Feed. Bucket is required.
type Config struct {
	Bucket string
	// All keeps every key, for buckets with few; else the newest changes.
	All bool
	// MaxEntries and MaxBytes bound what is kept, but for All. Default: 4,096 and 16 MiB.
	MaxEntries int
	MaxBytes   int
	Logger     *slog.Logger
}

// Entry is a key as it is now; Body is nil of one that is gone.
type Entry struct {
	Key    string
	Rev    uint64
	Body   []byte
	Stored time.Time // by the server's clock
}

// Feed follows one bucket. Make one with Open, end it with Close.
type Feed struct {
	cfg    Config
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	order   *list.List // of Entry, by revision
	keys    map[string]*list.Element
	bytes   int
	start   uint64                  // the newest revision when the watch began
	last    uint64                  // the newest revision seen
	floor   uint64                  // everything after it is here
	ready   bool                    // what was there at the start has been seen
	skew    time.Duration           // of the server's clock against this one
	changed chan struct{}           // closed and replaced at each change
	again   context.CancelCauseFunc // ends the watch, so that another begins
}

// Open begins to follow a bucket, which need not be there yet.
func Open(js jetstream.JetStream, cfg Config) *Feed {
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = 4096
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 16 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Feed{cfg: cfg, order: list.New(), keys: map[string]*list.Element{}, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.wg.Go(func() { f.follow(ctx, js) })
	f.wg.Go(func() { f.mind(ctx, js) })
	return f
}

// Close ends the following.
func (f *Feed) Close() {
	f.cancel()
	f.wg.Wait()
}

// Ready waits until the feed is up to date, or ctx ends.
func (f *Feed) Ready(ctx context.Context) error {
	for {
		f.mu.Lock()
		ready, changed := f.ready, f.changed
		f.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// IsReady says whether the feed is up to date.
func (f *Feed) IsReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

// Changed is closed at the next change. Take it before you look.
func (f *Feed) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Last is the newest revision that was seen.
func (f *Feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Now is the time by the server's clock, as far as the feed knows it.
func (f *Feed) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.skew)
}

// Get is a key as it is now, if the feed has it.
func (f *Feed) Get(key string) (Entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.keys[key]
	if !ok {
		return Entry{}, false
	}
	return e.Value.(Entry), true
}

// Since are the keys that have changed after a revision, in order, most at most,
// and the revision up to which they go. It is not ok if the revision is too old,
// or from another life of the bucket: then what is there must be read anew.
func (f *Feed) Since(rev uint64, most int) (entries []Entry, upTo uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ready {
		return nil, rev, true // not yet known
	}
	if rev < f.floor || rev > f.last {
		return nil, f.last, false
	}
	first := f.order.Back()
	for first != nil && first.Value.(Entry).Rev > rev {
		first = first.Prev()
	}
	if first == nil {
		first = f.order.Front()
	} else {
		first = first.Next()
	}
	for ; first != nil; first = first.Next() {
		e := first.Value.(Entry)
		if len(entries) == most {
			return entries, entries[most-1].Rev, true
		}
		entries = append(entries, e)
	}
	return entries, f.last, true
}

// All are the keys that are there, in the order of their changes, and the
// revision up to which they go.
func (f *Feed) All() (entries []Entry, upTo uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.order.Front(); e != nil; e = e.Next() {
		if entry := e.Value.(Entry); entry.Body != nil {
			entries = append(entries, entry)
		}
	}
	return entries, f.last
}

// follow watches the bucket until ctx ends.
func (f *Feed) follow(ctx context.Context, js jetstream.JetStream) {
	said := false
	for ctx.Err() == nil {
		err := f.watch(ctx, js)
		if errors.Is(err, kv.ErrNoBucket) {
			f.empty()
		}
		if err != nil && ctx.Err() == nil && !said {
			said = true
			f.cfg.Logger.Debug("cannot follow a bucket yet", "bucket", f.cfg.Bucket, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(openPause):
		}
	}
}

func (f *Feed) watch(ctx context.Context, js jetstream.JetStream) error {
	ctx, again := context.WithCancelCause(ctx)
	defer again(nil)
	bucket, err := kv.Open(ctx, js, kv.Config{Name: f.cfg.Bucket, Existing: true})
	if err != nil {
		return err
	}
	info, err := bucket.Info(ctx)
	if err != nil {
		return err
	}
	since := uint64(0)
	if !f.cfg.All && info.State.LastSeq > lookBack {
		since = info.State.LastSeq - lookBack
	}
	f.begin(info, again)
	return bucket.Watch(ctx, nil, since, func(e *kv.Entry) bool {
		if e == nil {
			f.caughtUp()
		} else {
			f.take(*e)
		}
		return true
	})
}

// begin forgets what an earlier watch saw.
func (f *Feed) begin(info *jetstream.StreamInfo, again context.CancelCauseFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order.Init()
	clear(f.keys)
	f.bytes, f.skew, f.ready, f.again = 0, time.Until(info.TimeStamp), false, again
	f.start, f.last, f.floor = info.State.LastSeq, info.State.LastSeq, info.State.LastSeq
	f.wake()
}

// empty: a bucket that nobody has made has nothing in it.
func (f *Feed) empty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ready {
		f.order.Init()
		clear(f.keys)
		f.bytes, f.start, f.last, f.floor, f.ready = 0, 0, 0, 0, true
		f.wake()
	}
}

func (f *Feed) caughtUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = true
	f.wake()
}

func (f *Feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Feed) take(e kv.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.keys[e.Key]; ok {
		if old.Value.(Entry).Rev >= e.Rev {
			return // again, after a reconnect
		}
		f.drop(old)
	}
	f.bytes += len(e.Body)
	entry := Entry{Key: e.Key, Rev: e.Rev, Body: e.Body, Stored: e.Stored}
	at := f.order.Back() // what a watch shows first is not always in order
	for at != nil && at.Value.(Entry).Rev > e.Rev {
		at = at.Prev()
	}
	if at == nil {
		f.keys[e.Key] = f.order.PushFront(entry)
	} else {
		f.keys[e.Key] = f.order.InsertAfter(entry, at)
	}
	f.last = max(f.last, e.Rev)
	if e.Rev <= f.start && time.Now().Add(f.skew).Sub(e.Stored) < markerLife {
		f.floor = min(f.floor, e.Rev-1) // no marker from after it is gone
	}
	if f.cfg.All && e.Body == nil {
		f.letGo()
	}
	for !f.cfg.All && f.order.Len() > 1 && (f.order.Len() > f.cfg.MaxEntries || f.bytes > f.cfg.MaxBytes) {
		oldest := f.order.Front()
		f.floor = max(f.floor, oldest.Value.(Entry).Rev)
		f.drop(oldest)
	}
	f.wake()
}

// letGo forgets keys that have been gone for long, of which the feed keeps all.
func (f *Feed) letGo() {
	now := time.Now().Add(f.skew)
	for e := f.order.Front(); e != nil; {
		next := e.Next()
		if entry := e.Value.(Entry); entry.Body == nil && now.Sub(entry.Stored) > markerLife {
			f.floor = max(f.floor, entry.Rev)
			f.drop(e)
		}
		e = next
	}
}

func (f *Feed) drop(e *list.Element) {
	entry := f.order.Remove(e).(Entry)
	f.bytes -= len(entry.Body)
	delete(f.keys, entry.Key)
}

// mind begins the watch anew after a time without a connection in which markers
// may have come and gone.
func (f *Feed) mind(ctx context.Context, js jetstream.JetStream) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var down time.Time // since when; zero: the connection is up
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch up := js.Conn().IsConnected(); {
		case !up && down.IsZero():
			down = time.Now()
		case up && !down.IsZero():
			if time.Since(down) > markerLife {
				f.restart()
			}
			down = time.Time{}
		}
	}
}

func (f *Feed) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.again != nil {
		f.again(nil)
	}
}
