package timers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// Config of Timers. All is required.
type Config struct {
	JS        jetstream.JetStream
	Space     subjects.Space
	Schedules *schedule.Store
	// Pipelines that may start jobs, by name.
	Pipelines func() map[string]*definition.Pipeline
	// Live says whether a job has not ended.
	Live func(ctx context.Context, job string) (bool, error)
	// Start starts the job of a tick; After, if set, is a job that has to end first.
	// The same tick again starts nothing. What the pipeline refuses is a
	// *RefusedError.
	Start func(ctx context.Context, tick Tick) error
	// Note makes a job's record say why a tick has no job. The same tick again
	// changes nothing.
	Note   func(ctx context.Context, tick Tick, why string) error
	Logger *slog.Logger
}

// Tick is a time at which a pipeline's job is due.
type Tick struct {
	// Job is the id that its job has.
	Job      string
	Pipeline string
	Timer    definition.Timer
	After    string
}

// RefusedError is why a pipeline takes no job now.
type RefusedError struct{ Cause error }

func (e *RefusedError) Error() string { return e.Cause.Error() }
func (e *RefusedError) Unwrap() error { return e.Cause }

// Timers keeps the schedules of pipelines. Make it with New.
type Timers struct {
	cfg  Config
	wake chan struct{} // there are schedules now

	syncing sync.Mutex  // one at a time makes the schedules what they should be
	behind  atomic.Bool // the last one has not

	mu    sync.Mutex
	lines map[string][]jetstream.Msg // fires in hand by subject, the one being handled first
}

// New makes Timers that do nothing yet.
func New(cfg Config) *Timers {
	return &Timers{cfg: cfg, wake: make(chan struct{}, 1), lines: map[string][]jetstream.Msg{}}
}

// wanted are the timers by the names of their schedules.
func (t *Timers) wanted() map[string]Tick {
	all := map[string]Tick{}
	for name, p := range t.cfg.Pipelines() {
		for i, timer := range p.Schedule {
			all[Name(name, i)] = Tick{Pipeline: name, Timer: timer}
		}
	}
	return all
}

var notForNames = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// Name is that of the schedule of a pipeline's timer, counted from 0: for people
// it begins with the pipeline's, as far as that may be in one.
func Name(pipeline string, timer int) string {
	sum := sha256.Sum256([]byte(pipeline))
	shown := strings.Trim(notForNames.ReplaceAllString(pipeline, "-"), "-_")
	return strings.TrimPrefix(shown[:min(len(shown), maxShown)]+"-", "-") + hex.EncodeToString(sum[:4]) + fmt.Sprintf("-%d", timer+1)
}

// maxShown is how much of a pipeline's name is in that of its schedule.
const maxShown = 16

// CheckServer says whether the NATS server can fire schedules.
func (t *Timers) CheckServer() error { return schedule.CheckServer(t.cfg.JS.Conn()) }

// Sync makes the fleet's schedules what the pipelines say. What has not changed
// stays as it is, also paused.
func (t *Timers) Sync(ctx context.Context) error {
	t.syncing.Lock()
	defer t.syncing.Unlock()
	err := t.sync(ctx)
	t.behind.Store(err != nil)
	return err
}

// Behind says whether the last Sync has failed.
func (t *Timers) Behind() bool { return t.behind.Load() }

func (t *Timers) sync(ctx context.Context) error {
	wanted := t.wanted()
	have, err := t.cfg.Schedules.List(ctx)
	if err != nil {
		return err
	}
	there := map[string]schedule.Schedule{}
	for _, s := range have {
		there[s.Name] = s
		if _, keep := wanted[s.Name]; s.Pipeline != "" && !keep {
			if err := t.cfg.Schedules.Withdraw(ctx, s.Name); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if err := t.put(ctx, name, wanted[name], there[name]); err != nil {
			return fmt.Errorf("cannot keep the schedule of pipeline %q: %w", wanted[name].Pipeline, err)
		}
	}
	if len(wanted) > 0 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// put stores a timer's schedule unless it is there.
func (t *Timers) put(ctx context.Context, name string, tick Tick, there schedule.Schedule) error {
	spec := schedule.Spec{
		Cron: string(tick.Timer.Cron), Zone: string(tick.Timer.TZ), Overlap: schedule.Overlap(tick.Timer.Overlap), Pipeline: tick.Pipeline, By: "pipelines.yml",
	}
	if tick.Timer.Every > 0 {
		spec.Every = time.Duration(tick.Timer.Every).String()
	}
	if there.Pipeline == spec.Pipeline && there.Cron == spec.Cron && there.Zone == spec.Zone && there.Every == spec.Every && there.Overlap == spec.Overlap {
		return nil
	}
	_, err := t.cfg.Schedules.Put(ctx, schedule.Schedule{Name: name, Spec: spec}, there.Rev)
	return err
}

// Run takes what the schedules fire until ctx ends. It first makes them what they
// should be.
func (t *Timers) Run(ctx context.Context) {
	for try := 1; ctx.Err() == nil; try++ {
		err := t.Sync(ctx)
		if err == nil {
			break
		}
		t.cfg.Logger.Warn("cannot keep the schedules of pipelines; it is tried again", "error", err)
		stream.Pause(ctx, stream.RetryWait(try))
	}
	for try := 1; ctx.Err() == nil; try++ {
		if len(t.wanted()) == 0 {
			select {
			case <-t.wake:
				try = 0
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		if err := t.follow(ctx); err != nil && ctx.Err() == nil {
			t.cfg.Logger.Warn("cannot read what pipelines' schedules fire; it is tried again", "error", err)
		}
		if time.Since(began) > time.Minute {
			try = 1
		}
		stream.Pause(ctx, stream.RetryWait(try))
	}
}
