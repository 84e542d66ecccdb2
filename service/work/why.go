package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store"
)

// Values of Queued.waits: why work waits.
const (
	WaitsExpired = "expired" // and nobody has recorded that yet
	WaitsPaused  = "paused"  // its pool is
	WaitsLater   = "later"   // its time has not come
	WaitsKey     = "key"     // others have its concurrency key
	WaitsRefused = "refused" // by runners that are online
	WaitsRunner  = "runner"  // none of its pool is online
	WaitsPlace   = "place"   // its pool's runners are busy
)

// Explain says of each run that waits why it does.
func (q *Queue) Explain(ctx context.Context, runs []*pb.Run) error {
	runs = slices.DeleteFunc(slices.Clone(runs), func(run *pb.Run) bool { return !IsWaiting(run) || run.GetQueued().GetWaits() != "" })
	if len(runs) == 0 {
		return nil
	}
	w, err := q.why(ctx)
	if err != nil {
		return err
	}
	for _, run := range runs {
		q := run.GetQueued()
		if q.Waits, q.Why, err = w.of(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

// why is what the reasons are found in.
type why struct {
	bucket  *kv.Bucket
	now     time.Time
	paused  map[string]Pause
	cards   []store.Seen
	refused []string // ids of work that has been
	held    map[string]holders
}

func (q *Queue) why(ctx context.Context) (w *why, err error) {
	w = &why{held: map[string]holders{}}
	if w.bucket, err = q.openBucket(ctx, false); err != nil {
		return nil, err
	}
	if w.paused, err = q.PausedPools(ctx); err != nil {
		return nil, err
	}
	if w.refused, err = q.keys(ctx, keyRefusals); err != nil {
		return nil, err
	}
	if w.cards, err = q.cfg.Store.Cards(ctx); err != nil {
		return nil, err
	}
	w.now, err = q.cfg.Store.ServerTime(ctx)
	return w, err
}

func (w *why) of(ctx context.Context, run *pb.Run) (code, words string, err error) {
	queued := run.GetQueued()
	pool := queued.GetPool()
	if p, is := w.paused[pool]; is {
		words := "pool " + pool + " is paused"
		if p.By != "" {
			words += " by " + p.By
		}
		return WaitsPaused, words, nil
	}
	if until := queued.GetUntil(); until != nil && until.AsTime().After(w.now) {
		return WaitsLater, "not before " + until.AsTime().Format(time.RFC3339), nil
	}
	if key := queued.GetKey(); key != "" {
		h, err := w.holders(ctx, key)
		if err != nil {
			return "", "", err
		}
		if h.full(queued.GetKeyMax()) {
			return WaitsKey, fmt.Sprintf("key %s is taken by %s", key, some(slices.Sorted(maps.Keys(h)))), nil
		}
	}
	if words, err := w.refusals(ctx, run.GetGroup()); words != "" || err != nil {
		return WaitsRefused, words, err
	}
	code, words = w.places(pool)
	return code, words, nil
}

// holders are the runs that have a key.
func (w *why) holders(ctx context.Context, key string) (holders, error) {
	if h, known := w.held[key]; known {
		return h, nil
	}
	e, err := w.bucket.Get(ctx, holdersKey(key))
	h := holders{}
	if err == nil {
		err = json.Unmarshal(e.Body, &h)
	} else if errors.Is(err, kv.ErrNoKey) {
		err = nil
	}
	w.held[key] = h
	return h, err
}

// refusals are what runners said that can't take work.
func (w *why) refusals(ctx context.Context, id string) (string, error) {
	if !slices.Contains(w.refused, id) {
		return "", nil
	}
	e, err := w.bucket.Get(ctx, keyRefusals+id)
	if errors.Is(err, kv.ErrNoKey) {
		return "", nil
	}
	var r Refusals
	if err == nil {
		err = json.Unmarshal(e.Body, &r)
	}
	return r.Words(), err
}

// Words are the reasons by runner.
func (r Refusals) Words() string {
	var reasons []string
	for _, runner := range slices.Sorted(maps.Keys(r.Reason)) {
		reasons = append(reasons, runner+": "+r.Reason[runner])
	}
	return strings.Join(reasons, "; ")
}

// places says what there is in a pool.
func (w *why) places(pool string) (code, words string) {
	online, free := 0, false
	for _, c := range w.cards {
		if c.Online && c.Card.GetState() == store.StateReady && slices.Contains(c.Card.GetPools(), pool) {
			online++
			free = free || c.Card.GetRunning() < c.Card.GetSlots()
		}
	}
	switch {
	case online == 0:
		return WaitsRunner, "no runner of pool " + pool + " is online and ready"
	case free:
		return WaitsPlace, "a runner is about to take it"
	}
	return WaitsPlace, fmt.Sprintf("the runners of pool %s are busy (%d online)", pool, online)
}

// some names a few.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
