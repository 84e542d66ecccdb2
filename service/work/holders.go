package work

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store"
)

// holder is a run that has a concurrency key.
type holder struct {
	Max   int64     `json:"max"`
	Since time.Time `json:"since"`
}

// holders are those of one key, by run.
type holders map[string]holder

// claimedWithin is how long after it took a key a run has no record yet.
const claimedWithin = time.Minute

// full says whether a key has no room for a run that allows max. The smallest
// maximum counts.
func (h holders) full(max int64) bool {
	for _, other := range h {
		max = min(max, other.Max)
	}
	return int64(len(h)) >= max
}

func holdersKey(key string) string {
	return keyHolders + base64.RawURLEncoding.EncodeToString([]byte(key))
}

// keyTries bounds how often a key is written that others write, too.
const keyTries = 50

// TakeKey has a run hold a concurrency key, and says whether there was room. Of a
// full key it looks whether those who hold it still run.
func (q *Queue) TakeKey(ctx context.Context, key, run string, most int64) (bool, error) {
	taken := false
	err := q.changeKey(ctx, key, func(h holders) (bool, error) {
		if _, has := h[run]; has {
			taken = true
			return false, nil
		}
		changed := false
		if taken = !h.full(most); !taken {
			var err error
			if changed, err = q.dropEnded(ctx, h); err != nil {
				return false, err
			}
			taken = !h.full(most)
		}
		if taken {
			now, err := q.cfg.Store.ServerTime(ctx)
			if err != nil {
				return false, err
			}
			h[run] = holder{most, now}
		}
		return taken || changed, nil
	})
	if err != nil {
		return false, fmt.Errorf("cannot take concurrency key %q: %w", key, err)
	}
	return taken, nil
}

// GiveKey takes a concurrency key from a run. That it has none is no error.
func (q *Queue) GiveKey(ctx context.Context, key, run string) error {
	err := q.changeKey(ctx, key, func(h holders) (bool, error) {
		_, has := h[run]
		delete(h, run)
		return has, nil
	})
	if err != nil {
		return fmt.Errorf("cannot give back concurrency key %q: %w", key, err)
	}
	return nil
}

// changeKey changes who holds a key, by compare-and-set.
func (q *Queue) changeKey(ctx context.Context, key string, change func(holders) (bool, error)) error {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return err
	}
	name := holdersKey(key)
	for range keyTries {
		e, err := b.GetLeader(ctx, name)
		if err != nil && !errors.Is(err, kv.ErrNoKey) {
			return err
		}
		h := holders{}
		if err == nil {
			if err := json.Unmarshal(e.Body, &h); err != nil {
				return err
			}
		}
		changed, err := change(h)
		if err != nil || !changed {
			return err
		}
		body, err := json.Marshal(h)
		if err != nil {
			return err
		}
		_, err = b.Put(ctx, kv.Write{Key: name, Body: body, Expect: e.Rev})
		var conflict *kv.ConflictError
		if !errors.As(err, &conflict) {
			return err
		}
	}
	return errors.New("too many others change it at once")
}

// dropEnded takes out those that run no more.
func (q *Queue) dropEnded(ctx context.Context, h holders) (dropped bool, err error) {
	for run, held := range h {
		record, _, err := q.cfg.Store.Get(ctx, run)
		switch {
		case errors.Is(err, store.ErrUnknownRun):
			now, err := q.cfg.Store.ServerTime(ctx)
			if err != nil {
				return false, err
			}
			if now.Sub(held.Since) < claimedWithin {
				continue
			}
		case err != nil:
			return false, err
		case !store.Final(record.GetState()):
			continue
		}
		delete(h, run)
		dropped = true
	}
	return dropped, nil
}
