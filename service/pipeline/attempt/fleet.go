package attempt

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/store"
)

// Fleet is what attempts at tasks need to have them run.
type Fleet struct {
	Client *client.Client
	Store  *store.Store
	Ends   *Ends
	// MaxPayload is how large a message may be, in bytes.
	MaxPayload int
	// StartTimeout is how long a task waits for a runner that matches.
	StartTimeout time.Duration
	// Look is how long the runners' cards are watched before a task asks again.
	Look time.Duration
	// Go runs a function that ends with the engine's term.
	Go func(func())
}

// Job is what the tasks of one job have in common.
type Job struct {
	ID, Pipeline string
	Variables    map[string]any
	Input        records.Input
}

// waitForCards returns when a runner has written its card, which each does when
// it comes, and when it has a free place again.
func (f *Fleet) waitForCards(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, f.Look)
	defer cancel()
	seen := map[string]time.Time{}
	if known, err := f.Client.Runners(ctx); err == nil {
		for _, r := range known {
			seen[r.Card.GetName()] = r.LastSeen
		}
	}
	enough := errors.New("enough")
	_ = f.Client.WatchRunners(ctx, func(r client.Runner) error {
		if r.LastSeen.After(seen[r.Card.GetName()]) {
			return enough
		}
		return nil
	})
	f.pause(ctx, 100*time.Millisecond) // a fleet that comes back writes many
}

func (f *Fleet) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tailBytes is how much of a failed task's output its handler is given.
const tailBytes = 64 << 10

// Tails are the ends of the two streams of runs' output.
func (f *Fleet) Tails(ctx context.Context, runs []string) (stdout, stderr string) {
	var out, errs []byte
	for _, id := range runs {
		run, err := f.Client.Status(ctx, id)
		if err != nil {
			continue
		}
		_, _ = f.Client.Follow(ctx, run, client.FollowOptions{}, func(r lines.Record) error {
			into := &out
			if r.Stream == lines.Stderr {
				into = &errs
			}
			*into = append(*into, r.Text...)
			if !r.Open {
				*into = append(*into, '\n')
			}
			*into = lastBytes(*into)
			return nil
		})
	}
	return clean(out), clean(errs)
}

func lastBytes(b []byte) []byte { return b[max(len(b)-tailBytes, 0):] }

// clean makes an environment's value of output.
func clean(b []byte) string {
	return string(slices.DeleteFunc(b, func(c byte) bool { return c == 0 }))
}

// takeAtOnce bounds what AtOnce does at a time.
const takeAtOnce = 64

// AtOnce calls do for each, some at a time, and joins the errors.
func AtOnce[T any](all []T, do func(T) error) error {
	var wg sync.WaitGroup
	places, errs := make(chan struct{}, takeAtOnce), make([]error, len(all))
	for i, one := range all {
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = do(one)
			<-places
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
