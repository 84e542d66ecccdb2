package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
)

// Names of the bucket's keys, each before what they are of.
const (
	keyPaused   = "paused."
	keyHolders  = "key."
	keyRefusals = "refused."
	keyFailed   = "failed."
	keyConflict = "conflict."
)

// A Pause says who has paused a pool, and since when.
type Pause struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
}

// SetPaused pauses a pool, or resumes it. Its runners are not told; see
// subjects.Space.QueueTell.
func (q *Queue) SetPaused(ctx context.Context, pool string, pause *Pause) error {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return err
	}
	if pause == nil {
		e, err := b.GetLeader(ctx, keyPaused+pool)
		if errors.Is(err, kv.ErrNoKey) {
			return nil
		}
		if err == nil {
			err = b.Delete(ctx, e.Key, e.Rev, 0)
		}
		return err
	}
	body, err := json.Marshal(pause)
	if err != nil {
		return err
	}
	return b.Set(ctx, keyPaused+pool, body)
}

// Paused reads, from the leader, whether a pool is paused: nil if not.
func (q *Queue) Paused(ctx context.Context, pool string) (*Pause, error) {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return nil, err
	}
	e, err := b.GetLeader(ctx, keyPaused+pool)
	if errors.Is(err, kv.ErrNoKey) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell whether pool %s is paused: %w", pool, err)
	}
	p := &Pause{}
	_ = json.Unmarshal(e.Body, p) // written by hand, it says nothing else
	return p, nil
}

// keys lists the bucket's keys that begin so, without that beginning: also those
// that were removed less than a minute ago. It costs no consumer.
func (q *Queue) keys(ctx context.Context, beginning string) ([]string, error) {
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return nil, err
	}
	s, err := q.cfg.JS.Stream(ctx, subjects.BucketStream(b.Name()))
	var info *jetstream.StreamInfo
	if err == nil {
		info, err = s.Info(ctx, jetstream.WithSubjectFilter(b.Subject(beginning+">")))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read bucket %s: %w", b.Name(), err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, b.Subject(beginning)))
	}
	return keys, nil
}

// PausedPools are the pools that are paused.
func (q *Queue) PausedPools(ctx context.Context) (map[string]Pause, error) {
	seen, err := q.keys(ctx, keyPaused)
	if err != nil || len(seen) == 0 {
		return nil, err
	}
	b, err := q.openBucket(ctx, false)
	if err != nil {
		return nil, err
	}
	pools := map[string]Pause{}
	for _, pool := range seen {
		e, err := b.Get(ctx, keyPaused+pool)
		if errors.Is(err, kv.ErrNoKey) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var p Pause
		_ = json.Unmarshal(e.Body, &p) // written by hand, it says nothing else
		pools[pool] = p
	}
	return pools, nil
}
