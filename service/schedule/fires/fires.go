package fires

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/service/work"
	"github.com/runnel-io/runnel/subjects"
)

// lookEvery is how often a runner looks for schedules that it was told nothing of.
const lookEvery = time.Minute

// Config of Fires. All is required.
type Config struct {
	// Name and Pools are the runner's.
	Name      string
	Pools     []string
	Space     subjects.Space
	JS        jetstream.JetStream
	Schedules *schedule.Store
	Work      *work.Queue
	Records   *store.Store
	Runner    *run.Runner
	Policy    func() run.Policy
	// Matches says whether a selector fits this runner.
	Matches func(where string) (bool, error)
	// Abort ends a run, or queued work, wherever it is, and waits for its end for so long.
	Abort  func(ctx context.Context, id string, wait time.Duration) error
	Logger *slog.Logger
}

// Fires handles the fires for one runner. Make it with New, have it work with Run,
// and wait for the runs that it has started with Wait.
type Fires struct {
	cfg  Config
	log  *slog.Logger
	said bool // that the server is too old
	// handled is the last tick of each schedule for all that was handled here.
	handled map[string]time.Time
	lives   sync.WaitGroup
}

// New makes Fires that handle nothing yet.
func New(cfg Config) *Fires {
	return &Fires{cfg: cfg, log: cfg.Logger, handled: map[string]time.Time{}}
}

// Wait returns when no run of a schedule for all is under way here.
func (f *Fires) Wait() { f.lives.Wait() }

// Run handles fires until ctx ends.
func (f *Fires) Run(ctx context.Context) {
	nc := f.cfg.JS.Conn()
	told := make(chan struct{}, 1)
	sub, err := nc.Subscribe(f.cfg.Space.ScheduleTell(), func(*nats.Msg) {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	if err != nil {
		f.log.Error("cannot handle schedules", "runner", f.cfg.Name, "error", err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	for try := 1; ctx.Err() == nil; try++ {
		err := f.find(ctx)
		switch {
		case err == nil:
			try = 1
			err = f.follow(ctx)
		case errors.Is(err, schedule.ErrNone), errors.Is(err, schedule.ErrServer):
			rest(ctx, told, lookEvery)
			continue
		}
		if err != nil && ctx.Err() == nil {
			f.log.Debug("cannot handle schedules now", "runner", f.cfg.Name, "error", err)
			rest(ctx, nil, stream.RetryWait(try))
		}
	}
}

func rest(ctx context.Context, told <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-told:
	case <-ctx.Done():
	}
}

// find looks whether there are schedules.
func (f *Fires) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stream.RequestTimeout)
	defer cancel()
	if err := schedule.CheckServer(f.cfg.JS.Conn()); err != nil {
		if !f.said {
			f.log.Warn("this runner handles no schedules", "runner", f.cfg.Name, "error", err)
		}
		f.said = true
		return err
	}
	if err := f.cfg.Schedules.Open(ctx); err != nil {
		return err
	}
	for _, pool := range f.cfg.Pools {
		if err := f.cfg.Schedules.EnsureConsumer(ctx, pool); err != nil {
			return err
		}
	}
	return nil
}

// errReconnected: what the server had sent meanwhile may be lost.
var errReconnected = errors.New("the connection was away")

// follow handles fires until one of its consumers fails, or the connection was away:
// what is fired for all is sent once, and read anew then.
func (f *Fires) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var followers sync.WaitGroup
	follow := func(consumer jetstream.Consumer, each func(context.Context, jetstream.Msg)) {
		followers.Go(func() { cancel(schedule.Read(ctx, consumer, each)) })
	}
	nc := f.cfg.JS.Conn()
	reconnected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(reconnected)
	followers.Go(func() {
		select {
		case <-reconnected:
			cancel(errReconnected)
		case <-ctx.Done():
		}
	})
	consumers, err := f.consumers(ctx)
	if err == nil {
		for _, c := range consumers.pools {
			follow(c, f.forAny)
		}
		follow(consumers.all, f.forAll)
	}
	if err != nil {
		cancel(err)
	}
	followers.Wait()
	return context.Cause(ctx)
}

type consumers struct {
	pools []jetstream.Consumer
	all   jetstream.Consumer
}

// allInactive is how long the server keeps the consumer of a runner that is gone.
const allInactive = 5 * time.Minute

func (f *Fires) consumers(ctx context.Context) (c consumers, err error) {
	name := f.cfg.Space.ScheduleStream()
	for _, pool := range f.cfg.Pools {
		one, err := f.cfg.JS.Consumer(ctx, name, subjects.FireConsumer(pool))
		if err != nil {
			return c, err
		}
		c.pools = append(c.pools, one)
	}
	since, err := f.since(ctx)
	if err != nil {
		return c, err
	}
	filters := []string{f.cfg.Space.Fired(true, subjects.NoPool, "*")}
	for _, pool := range f.cfg.Pools {
		filters = append(filters, f.cfg.Space.Fired(true, pool, "*"))
	}
	// A name of its own, so that a runner may be allowed this consumer alone.
	all := subjects.FireConsumerAll(f.cfg.Name)
	if err := f.cfg.JS.DeleteConsumer(ctx, name, all); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return c, err
	}
	c.all, err = f.cfg.JS.CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		Name: all, FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: allInactive, MemoryStorage: true, Replicas: 1,
	})
	return c, err
}

// since is from when on this runner reads what is fired for all.
func (f *Fires) since(ctx context.Context) (time.Time, error) {
	all, err := f.cfg.Schedules.List(ctx)
	longest := schedule.DefaultDeadlineAll
	for _, def := range all {
		if def.All {
			longest = max(longest, def.Deadline())
		}
	}
	return time.Now().Add(-longest), err
}

// note records that a tick has no run, and why.
func (f *Fires) note(_ context.Context, fire schedule.Fire, n schedule.Note) error {
	s, err := run.NewSubmission(fire.Request(n.ID), func(string) string { return "" })
	if err != nil {
		return err
	}
	s.Missed, s.HidesCommand = run.Missed(n.Missed), f.cfg.Policy().HidesCommands
	r, err := f.cfg.Runner.Fail(s, n.Reason, n.Text)
	if errors.Is(err, run.ErrConflict) || errors.Is(err, store.ErrRemoved) {
		return schedule.ErrKnown
	}
	if err == nil && r.GetMissed() != int64(n.Missed.Count) {
		return schedule.ErrKnown
	}
	return err
}
