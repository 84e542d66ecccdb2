package timers

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"deploy", "Deploy", "a b", "a/b", "日本", "-", strings.Repeat("x", 128), strings.Repeat("x", 127) + "y"} {
		got := Name(name, 99)
		if err := schedule.CheckName(got); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%q and %q are both %s", name, other, got)
		}
		seen[got] = name
	}
	if got := Name("deploy", 0); !regexp.MustCompile(`^deploy-[0-9a-f]{8}-1$`).MatchString(got) {
		t.Errorf("got %s", got)
	}
}

func TestJobIDs(t *testing.T) {
	at := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	one := JobID("nightly", at)
	if again := JobID("nightly", at.In(time.FixedZone("x", 3600))); again != one {
		t.Errorf("the same tick is %s and %s", one, again)
	}
	if JobID("nightly", at.Add(time.Second)) == one || JobID("other", at) == one {
		t.Error("two ticks have one job")
	}
}

// engine is what Timers know of an engine.
type engine struct {
	t  *testing.T
	js jetstream.JetStream
	*Timers

	mu        sync.Mutex
	pipelines map[string]*definition.Pipeline
	started   []Tick
	noted     map[string]string
	start     func(ctx context.Context, tick Tick) error
}

func newEngine(t *testing.T, js jetstream.JetStream, text string) *engine {
	t.Helper()
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, js: js, noted: map[string]string{}, start: func(context.Context, Tick) error { return nil }}
	e.define(text)
	serverTime := func(context.Context) (time.Time, error) { return time.Now(), nil }
	e.Timers = New(Config{
		JS: js, Space: space, Logger: slog.New(slog.DiscardHandler),
		Schedules: schedule.New(schedule.Config{JS: js, Space: space, ServerTime: serverTime}),
		Pipelines: func() map[string]*definition.Pipeline {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.pipelines
		},
		Live: func(context.Context, string) (bool, error) { return false, nil },
		Start: func(ctx context.Context, tick Tick) error {
			err := e.start(ctx, tick)
			e.mu.Lock()
			defer e.mu.Unlock()
			if err == nil {
				e.started = append(e.started, tick)
			}
			return err
		},
		Note: func(_ context.Context, tick Tick, why string) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.noted[tick.Job] = why
			return nil
		},
	})
	return e
}

func (e *engine) define(text string) {
	e.t.Helper()
	all, err := definition.Parse("p.yml", []byte(text))
	if err != nil {
		e.t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pipelines = all
}

// run has it work until the returned function is called.
func (e *engine) run() (stop func()) {
	ctx, cancel := context.WithCancel(e.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (e *engine) ticks() []Tick {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Tick(nil), e.started...)
}

func (e *engine) untilTicks(n int) []Tick {
	e.t.Helper()
	rig.EventuallyIn(e.t, time.Minute, "ticks", func() bool { return len(e.ticks()) >= n })
	return e.ticks()
}

const beat = "pipelines: {beat: {schedule: [{every: 1s, variables: {x: 1}}]}}"

// A fire that one has taken and not answered for is the next one's; no tick is
// started by both.
func TestFiresAreHandedOn(t *testing.T) {
	t.Parallel()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	first := newEngine(t, js, beat)
	stuck := make(chan Tick, 10)
	first.start = func(ctx context.Context, tick Tick) error {
		stuck <- tick
		<-ctx.Done()
		return ctx.Err()
	}
	stop := first.run()
	tick := <-stuck
	stop()
	second := newEngine(t, js, beat)
	defer second.run()()
	ticks := second.untilTicks(3)
	if ticks[0].Job != tick.Job || ticks[0].Pipeline != "beat" || string(ticks[0].Timer.Variables) != `{"x":1}` {
		t.Errorf("the next one starts with %+v, not with %+v", ticks[0], tick)
	}
	seen := map[string]bool{}
	for _, tick := range ticks {
		if seen[tick.Job] {
			t.Errorf("tick %s was started twice", tick.Job)
		}
		seen[tick.Job] = true
	}
}

// One schedule that waits holds up no other, and its own ticks keep their order.
func TestOneWaitsAlone(t *testing.T) {
	t.Parallel()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	e := newEngine(t, js, "pipelines: {slow: {schedule: [{every: 1s}]}, quick: {schedule: [{every: 1s}]}}")
	release := make(chan struct{})
	e.start = func(ctx context.Context, tick Tick) error {
		if tick.Pipeline == "slow" {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	defer e.run()()
	for _, tick := range e.untilTicks(3) {
		if tick.Pipeline != "quick" {
			t.Errorf("a tick of %s was started", tick.Pipeline)
		}
	}
	close(release)
	rig.EventuallyIn(t, time.Minute, "three slow ones", func() bool {
		n := 0
		for _, tick := range e.ticks() {
			if tick.Pipeline == "slow" {
				n++
			}
		}
		return n >= 3
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, why := range e.noted {
		t.Errorf("a tick was left out: %s", why)
	}
}

// What the pipeline refuses is noted; what fails otherwise is tried again.
func TestRefusedAndFailed(t *testing.T) {
	t.Parallel()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	e := newEngine(t, js, beat)
	var tries []string
	e.start = func(_ context.Context, tick Tick) error {
		tries = append(tries, tick.Job)
		switch len(tries) {
		case 1, 2:
			return errors.New("not now")
		case 3:
			return &RefusedError{errors.New("the queue is full")}
		}
		return nil
	}
	stop := e.run()
	e.untilTicks(1)
	stop()
	if tries[0] != tries[1] || tries[1] != tries[2] || tries[3] == tries[0] {
		t.Errorf("tries %v", tries)
	}
	if e.noted[tries[0]] != "the queue is full" {
		t.Errorf("notes %v", e.noted)
	}
}

// What is fired for a pipeline that is gone does nothing, and comes from nowhere
// any more after a Sync.
func TestGoneWithItsPipeline(t *testing.T) {
	t.Parallel()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	e := newEngine(t, js, beat)
	stop := e.run()
	e.untilTicks(1)
	e.define("pipelines: {other: {schedule: [{every: 1s}]}}")
	before := len(e.ticks())
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := e.untilTicks(before + 3)
	stop()
	if last := all[len(all)-1]; last.Pipeline != "other" {
		t.Errorf("the last tick is of %s", last.Pipeline)
	}
	rig.Eventually(t, "one schedule is left", func() bool {
		left, err := e.cfg.Schedules.List(t.Context())
		return err == nil && len(left) == 1 && left[0].Pipeline == "other"
	})
}
