package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
)

// Last is what a schedule has done last: in the fleet, or on one runner of those
// that all run it.
type Last struct {
	// Tick that was handled last.
	Tick time.Time `json:"tick"`
	// Run that it has started last; empty if none.
	Run string `json:"run,omitempty"`
	rev uint64
}

func lastKey(name, runner string) string {
	if runner == "" {
		return "last." + name
	}
	return "last." + name + "." + runner
}

// Last reads it; runner is empty for the fleet's.
func (s *Store) Last(ctx context.Context, name, runner string) (last Last, err error) {
	b, err := s.open(ctx, false)
	if err != nil {
		return last, err
	}
	e, err := b.GetLeader(ctx, lastKey(name, runner))
	if errors.Is(err, kv.ErrNoKey) {
		return Last{rev: e.Rev}, nil
	}
	if err != nil {
		return last, fmt.Errorf("cannot read what schedule %s has done last: %w", name, err)
	}
	err = json.Unmarshal(e.Body, &last)
	last.rev = e.Rev
	return last, err
}

// SetLast writes it over what was read, and returns it as it can be written over in
// turn. Error: ErrChanged.
func (s *Store) SetLast(ctx context.Context, name, runner string, last Last) (Last, error) {
	b, err := s.open(ctx, false)
	if err != nil {
		return last, err
	}
	body, err := json.Marshal(last)
	if err != nil {
		return last, err
	}
	rev, err := b.Put(ctx, kv.Write{Key: lastKey(name, runner), Body: body, Expect: last.rev})
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return last, ErrChanged
	}
	last.rev = rev
	return last, err
}

// forget removes what is known of a schedule, for each runner.
func (s *Store) forget(ctx context.Context, name string) error {
	b, err := s.open(ctx, false)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := s.cfg.JS.Stream(ctx, subjects.BucketStream(b.Name()))
	if err != nil {
		return err
	}
	for _, key := range []string{lastKey(name, ""), lastKey(name, "*")} {
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(b.Subject(key))); err != nil {
			return fmt.Errorf("cannot forget what schedule %s has done: %w", name, err)
		}
	}
	return nil
}
