package work

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/service/kv"
)

const (
	// refusalLife is how long it is remembered who has refused work.
	refusalLife = time.Hour
	// failedLife is how long work that has failed can be tried again, and how long
	// a conflict is listed.
	failedLife = 7 * 24 * time.Hour
)

// Refusals are why runners have refused work, by runner.
type Refusals struct {
	Since  time.Time         `json:"since"`
	Reason map[string]string `json:"reason"`
}

// AddRefusal notes that a runner has refused work, and returns all who have.
func (q *Queue) AddRefusal(ctx context.Context, id, runner, reason string) (Refusals, error) {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return Refusals{}, err
	}
	for range keyTries {
		e, err := b.GetLeader(ctx, keyRefusals+id)
		if err != nil && !errors.Is(err, kv.ErrNoKey) {
			return Refusals{}, err
		}
		var r Refusals
		if err == nil {
			if err := json.Unmarshal(e.Body, &r); err != nil {
				return r, err
			}
		}
		if r.Reason == nil {
			now, err := q.cfg.Store.ServerTime(ctx)
			if err != nil {
				return r, err
			}
			r = Refusals{now, map[string]string{}}
		}
		if r.Reason[runner] == reason {
			return r, nil
		}
		r.Reason[runner] = reason
		body, err := json.Marshal(r)
		if err != nil {
			return r, err
		}
		_, err = b.Put(ctx, kv.Write{Key: keyRefusals + id, Body: body, Expect: e.Rev, TTL: refusalLife})
		var conflict *kv.ConflictError
		if !errors.As(err, &conflict) {
			return r, err
		}
	}
	return Refusals{}, errors.New("too many others change it at once")
}

// DropRefusals forgets who has refused work.
func (q *Queue) DropRefusals(ctx context.Context, id string) error {
	return q.drop(ctx, keyRefusals+id)
}

func (q *Queue) drop(ctx context.Context, key string) error {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return err
	}
	e, err := b.GetLeader(ctx, key)
	if errors.Is(err, kv.ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.Delete(ctx, key, e.Rev, 0)
}

// note writes a key that lives for as long as failed work does.
func (q *Queue) note(ctx context.Context, key string, body []byte) error {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return err
	}
	e, err := b.GetLeader(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNoKey) {
		return err
	}
	_, err = b.Put(ctx, kv.Write{Key: key, Body: body, Expect: e.Rev, TTL: failedLife})
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return nil // another runner says the same just now
	}
	return err
}

// KeepFailed keeps the request of work that has failed, so that it can be tried
// again after its message is gone.
func (q *Queue) KeepFailed(ctx context.Context, w Work) error {
	req, err := w.Request()
	if err != nil {
		return nil // it never can be
	}
	if err := q.note(ctx, keyFailed+w.ID, w.Body); err != nil {
		return fmt.Errorf("cannot keep the request of %s: %w", req.GetMetadata().GetId(), err)
	}
	return nil
}

// Failed lists the ids of work that has failed, and can be tried again.
func (q *Queue) Failed(ctx context.Context) ([]string, error) { return q.keys(ctx, keyFailed) }

// A Conflict is a message that was dropped: another request had its id.
type Conflict struct {
	ID       string    `json:"id"`
	Pool     string    `json:"pool"`
	Priority string    `json:"priority"`
	At       time.Time `json:"at"`
}

// NoteConflict has a message listed that was dropped.
func (q *Queue) NoteConflict(ctx context.Context, w Work) error {
	body, err := json.Marshal(Conflict{w.ID, w.Pool, w.Priority, w.Accepted})
	if err != nil {
		return err
	}
	return q.note(ctx, keyConflict+w.ID, body)
}

// Conflicts lists the messages that were dropped lately, the oldest first.
func (q *Queue) Conflicts(ctx context.Context) ([]Conflict, error) {
	ids, err := q.keys(ctx, keyConflict)
	if err != nil {
		return nil, err
	}
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return nil, err
	}
	var found []Conflict
	for _, id := range ids {
		e, err := b.Get(ctx, keyConflict+id)
		var c Conflict
		if err == nil && json.Unmarshal(e.Body, &c) == nil {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b Conflict) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID)) })
	return found, nil
}
