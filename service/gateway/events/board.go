package events

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/feed"
)

const (
	// boardLook is how often a board is read while somebody looks at it.
	boardLook = 250 * time.Millisecond
	// boardTime bounds one reading.
	boardTime = time.Minute
)

// A board shows what no bucket has as it is: the queue, or the schedules. It is
// read once a second at most, however many streams show it, and not at all while
// none does.
type board struct {
	// read returns what there is, or last if nothing has changed.
	read func(ctx context.Context, last *sight) (*sight, error)
	turn chan struct{} // holds one while nobody reads

	at   time.Time // when it was read
	seen *sight
}

func newBoard(read func(context.Context, *sight) (*sight, error)) *board {
	b := &board{read: read, turn: make(chan struct{}, 1), seen: &sight{}}
	b.turn <- struct{}{}
	return b
}

// A sight is a board as it was at a time. It never changes.
type sight struct {
	marks string // of what it was read from
	runs  uint64 // the runs' revision that it knows
	// settled: it was read once more after the last change, as a replica may have
	// been behind.
	settled bool
	items   map[string]item
	lasts   map[string]*pb.Run // of schedules: the newest record, nil for none
}

// item is a thing on a board. By mark it is seen whether it has changed.
type item struct {
	mark string
	data []byte
}

// now is the board as it is, boardLook old at most.
func (b *board) now(ctx context.Context) (*sight, error) {
	select {
	case <-b.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { b.turn <- struct{}{} }()
	if time.Since(b.at) < boardLook {
		return b.seen, nil
	}
	ctx, cancel := context.WithTimeout(ctx, boardTime)
	defer cancel()
	seen, err := b.read(ctx, b.seen)
	if err != nil {
		return nil, err
	}
	b.at, b.seen = time.Now(), seen
	return seen, nil
}

// place is where a reader stands who has seen this: the same at every gateway.
func (s *sight) place() string {
	h := fnv.New32a()
	for _, key := range s.keys() {
		_, _ = h.Write([]byte(key + "\x00" + s.items[key].mark + "\x00"))
	}
	return strconv.FormatUint(uint64(h.Sum32()), 10)
}

func (s *sight) keys() []string { return slices.Sorted(maps.Keys(s.items)) }

// after are the keys that are other than in an older sight, those that are gone
// among them.
func (s *sight) after(older *sight) (keys []string) {
	for _, key := range s.keys() {
		if was, had := older.items[key]; !had || was.mark != s.items[key].mark {
			keys = append(keys, key)
		}
	}
	for _, key := range older.keys() {
		if _, has := s.items[key]; !has {
			keys = append(keys, key)
		}
	}
	return keys
}

// changedRuns are those of a board that have changed after a revision, and the
// newest revision; not ok if that can't be told any more.
func changedRuns(runs *feed.Feed, rev uint64, concerns func(feed.Entry) bool) (changed []feed.Entry, upTo uint64, ok bool) {
	for {
		entries, next, ok := runs.Since(rev, feedBatch)
		if !ok {
			return nil, next, false
		}
		for _, e := range entries {
			if concerns(e) {
				changed = append(changed, e)
			}
		}
		if rev = next; len(entries) < feedBatch {
			return changed, rev, true
		}
	}
}

// followBoard sends what is on a board, unless the client has it, and then what
// changes. A board that can't be read just now is looked at again.
func (s *sender) followBoard(ctx context.Context, t *topic) error {
	b, kind := s.schedules, "schedule"
	if t.kind == "queue" {
		b, kind = s.queue, "queue"
	}
	tick := time.NewTicker(boardLook)
	defer tick.Stop()
	var shown *sight
	for {
		now, err := b.now(ctx)
		switch {
		case err != nil:
		case shown == nil && t.at != now.place():
			err = s.wholeBoard(t, kind, now)
		case shown != nil && shown != now:
			err = s.changedBoard(t, kind, now, now.after(shown))
		}
		if err == nil {
			shown = now
		} else if now != nil {
			return err // of the client
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wholeBoard sends all that is on a board, and that this was all.
func (s *sender) wholeBoard(t *topic, kind string, now *sight) error {
	if t.at != "" {
		if err := s.send(t, "", "reset", []byte(`{"topic":"`+t.name()+`"}`)); err != nil {
			return err
		}
	}
	for _, key := range now.keys() {
		if err := s.send(t, "", kind, now.items[key].data); err != nil {
			return err
		}
	}
	return s.send(t, now.place(), "current", []byte(`{"topic":"`+t.name()+`"}`))
}

// changedBoard sends keys; with the last of them the client has it all.
func (s *sender) changedBoard(t *topic, kind string, now *sight, keys []string) error {
	for i, key := range keys {
		place := ""
		if i == len(keys)-1 {
			place = now.place()
		}
		data := now.items[key].data
		if data == nil {
			data = gone("name", key)
		}
		if err := s.send(t, place, kind, data); err != nil {
			return err
		}
	}
	return nil
}
