package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// taker is a Store with a place where ticks are written down.
type taker struct {
	*schedule.Store
	place schedule.Place
	seen  []string
}

func newTaker(t *testing.T) *taker {
	t.Helper()
	space, err := subjects.New("runner")
	if err != nil {
		t.Fatal(err)
	}
	now := func(context.Context) (time.Time, error) { return at(t, "2026-11-26T12:00:10Z"), nil }
	k := &taker{Store: schedule.New(schedule.Config{JS: rig.JetStream(t, rig.Connect(t, rig.Memory(t))), Space: space, Replicas: 1, ServerTime: now})}
	k.place = schedule.Place{
		ID:   func(f schedule.Fire, tick time.Time) string { return schedule.TickID(f.Name, tick) },
		Live: func(context.Context, string) (bool, error) { return false, nil },
		Start: func(_ context.Context, _ schedule.Fire, id, _ string) error {
			k.seen = append(k.seen, id)
			return nil
		},
		Note: func(_ context.Context, _ schedule.Fire, n schedule.Note) error {
			k.seen = append(k.seen, fmt.Sprint(n.ID, " ", n.Reason, " ", n.Missed.Count))
			return nil
		},
	}
	if _, err := k.Put(rig.Within(t, rig.Patience), schedule.Schedule{Name: "s", Spec: schedule.Spec{Every: "1s"}, Task: task("true")}, 0); err != nil {
		t.Fatal(err)
	}
	return k
}

// fire is that of the tick at a second.
func (k *taker) fire(t *testing.T, second int) schedule.Fire {
	return schedule.Fire{Tick: at(t, "2026-11-26T12:00:00Z").Add(time.Duration(second) * time.Second), Schedule: schedule.Schedule{
		Name: "s", Task: task("true"), Spec: schedule.Spec{Every: "1s", Since: at(t, "2026-11-26T12:00:00Z")},
	}}
}

func (k *taker) handle(t *testing.T, second int) {
	t.Helper()
	if err := k.Handle(rig.Within(t, rig.Patience), k.fire(t, second), k.place); err != nil {
		t.Errorf("the fire at %d: %v", second, err)
	}
}

// over writes what the schedule has done last over what was read.
func (k *taker) over(t *testing.T, last schedule.Last) error {
	_, err := k.SetLast(rig.Within(t, rig.Patience), "s", "", last)
	return err
}

func (k *taker) last(t *testing.T) schedule.Last {
	t.Helper()
	last, err := k.Last(rig.Within(t, rig.Patience), "s", "")
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// Another taker writes while a fire is handled: the tick counts as handled all the
// same, and not as one that nobody has heard of.
func TestHandledThoughAnotherWrites(t *testing.T) {
	k := newTaker(t)
	k.handle(t, 1)
	start := k.place.Start
	var once sync.Once
	k.place.Start = func(ctx context.Context, f schedule.Fire, id, after string) error {
		once.Do(func() {
			other := k.last(t)
			other.Run = "another's"
			if err := k.over(t, other); err != nil {
				t.Error(err)
			}
		})
		return start(ctx, f, id, after)
	}
	k.handle(t, 2)
	k.handle(t, 2) // delivered again
	k.handle(t, 3)
	k.handle(t, 2) // and late
	want := []string{"s-20261126T120001Z", "s-20261126T120002Z", "s-20261126T120002Z", "s-20261126T120003Z"}
	if !slices.Equal(k.seen, want) {
		t.Errorf("got %v, want %v", k.seen, want)
	}
}

// Before ticks are counted as missed, what the schedule has done last is written
// again: whoever has read it of a server that is behind can't.
func TestMissedCountsWhatIsCertain(t *testing.T) {
	k := newTaker(t)
	k.handle(t, 1)
	before := k.last(t)
	before.Run = "another's"
	note := k.place.Note
	k.place.Note = func(ctx context.Context, f schedule.Fire, n schedule.Note) error {
		if err := k.over(t, before); !errors.Is(err, schedule.ErrChanged) {
			t.Errorf("what was read before is written over: %v", err)
		}
		return note(ctx, f, n)
	}
	k.handle(t, 5)
	want := []string{"s-20261126T120001Z", "s-20261126T120004Z expired 3", "s-20261126T120005Z"}
	if !slices.Equal(k.seen, want) {
		t.Errorf("got %v, want %v", k.seen, want)
	}
}

// A tick that has its record, though nobody noted so, is none that was missed, and
// those before it are all counted.
func TestMissedBeforeWhatHasItsRecord(t *testing.T) {
	k := newTaker(t)
	k.handle(t, 1)
	note := k.place.Note
	k.place.Note = func(ctx context.Context, f schedule.Fire, n schedule.Note) error {
		if n.ID == "s-20261126T120004Z" || n.ID == "s-20261126T120008Z" {
			return schedule.ErrKnown
		}
		return note(ctx, f, n)
	}
	k.handle(t, 5)
	k.handle(t, 6)
	k.place.Live = func(context.Context, string) (bool, error) { return true, nil }
	k.handle(t, 8) // to be skipped, and recorded before
	want := []string{"s-20261126T120001Z", "s-20261126T120003Z expired 2", "s-20261126T120005Z", "s-20261126T120006Z", "s-20261126T120007Z expired 1"}
	if !slices.Equal(k.seen, want) {
		t.Errorf("got %v, want %v", k.seen, want)
	}
	if last := k.last(t); !last.Tick.Equal(at(t, "2026-11-26T12:00:08Z")) {
		t.Errorf("the last tick is %s", last.Tick)
	}
}
