package schedule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/schedule/pattern"
	"github.com/runnel-io/runnel/subjects"
)

// message is a fire as it comes out of the stream.
type message struct {
	jetstream.Msg
	subject string
	header  nats.Header
	stored  time.Time
}

func (m message) Subject() string      { return m.subject }
func (m message) Headers() nats.Header { return m.header }
func (m message) Data() []byte {
	return []byte(`{"kind":"runner","spec":{"task":{"argv":["true"]}}}`)
}
func (m message) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Timestamp: m.stored}, nil
}

// read is a fire of a schedule, stored at a time, that says when the next is due.
func read(t rapid.TB, spec schedule.Spec, stored time.Time, next string) schedule.Fire {
	t.Helper()
	space, err := subjects.New("runner")
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	header := nats.Header{schedule.HeaderSchedule: []string{string(body)}, "Nats-Schedule-Next": []string{next}}
	f, err := schedule.New(schedule.Config{Space: space}).Fire(context.Background(), message{subject: "runner.schedule.fired.any.default.s", header: header, stored: stored})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// outages is a server that is away now and then: an instant falls into one, or not.
type outages [][2]time.Time

func (o outages) until(t time.Time) time.Time {
	for _, away := range o {
		if !t.Before(away[0]) && t.Before(away[1]) {
			return away[1]
		}
	}
	return t
}

// TestEachTickIsFiredOrCounted plays a server that fires as nats-server does (once,
// after it was away, and on from the rounded present), with its delays and
// redeliveries: whatever happens, each tick is handled once, or counted once.
func TestEachTickIsFiredOrCounted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		step := rapid.SampledFrom([]int{1, 2, 5, 10, 15, 20, 30}).Draw(r, "step")
		begin := time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 7_200_000).Draw(r, "begin")) * time.Millisecond)
		end := begin.Add(3 * time.Minute)
		spec := schedule.Spec{Cron: fmt.Sprintf("*/%d * * * * *", step), Zone: "Europe/Berlin", Since: begin}
		var away outages
		for range rapid.IntRange(0, 6).Draw(r, "outages") {
			from := begin.Add(time.Duration(rapid.IntRange(0, 180_000).Draw(r, "from")) * time.Millisecond)
			away = append(away, [2]time.Time{from, from.Add(time.Duration(rapid.IntRange(1, 60_000).Draw(r, "length")) * time.Millisecond)})
		}
		p, err := pattern.Cron(spec.Cron, spec.Zone)
		if err != nil {
			r.Fatal(err)
		}
		known := map[time.Time]int{}
		var last time.Time
		for due := p.Next(begin); due.Before(end); {
			now := away.until(due.Add(time.Duration(rapid.IntRange(0, 250).Draw(r, "late")) * time.Millisecond))
			next := p.Next(due)
			if next.Before(now) {
				next = p.Next(now.Round(time.Second))
			}
			for range rapid.IntRange(1, 2).Draw(r, "deliveries") {
				f := read(r, spec, now, next.Format(time.RFC3339Nano))
				if !f.Tick.After(last) {
					continue
				}
				m := f.MissedSince(last)
				n := 0
				for tick := m.From; m.Count > 0 && !tick.After(m.To); tick = tick.Add(time.Duration(step) * time.Second) {
					known[tick]++
					n++
				}
				if n != m.Count {
					r.Fatalf("%+v are %d", m, n)
				}
				known[f.Tick]++
				last = f.Tick
			}
			due = next
		}
		for tick := begin.Truncate(time.Second).Add(time.Second); !tick.After(last); tick = tick.Add(time.Second) {
			if want := tick.Second()%step == 0; want && known[tick] != 1 || !want && known[tick] != 0 {
				r.Fatalf("%s is known %d times", tick, known[tick])
			}
		}
	})
}

// TestIntervalsAreFiredOrCounted does the same for an interval, which the server
// counts anew after it was away.
func TestIntervalsAreFiredOrCounted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		every := time.Duration(rapid.IntRange(1, 30).Draw(r, "every")) * time.Second
		begin := time.Date(2026, 11, 26, 12, 0, 0, rapid.IntRange(0, 999).Draw(r, "ms")*1e6, time.UTC)
		spec := schedule.Spec{Every: every.String(), Since: begin}
		var last time.Time
		due := begin.Round(time.Second).Add(every)
		for range 40 {
			now := due.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 200, 900, 3000, 100_000}).Draw(r, "late")) * time.Millisecond)
			next := due.Add(every)
			if next.Before(now) {
				next = now.Round(time.Second).Add(every)
			}
			f := read(r, spec, now, next.Format(time.RFC3339Nano))
			since := last
			if since.IsZero() {
				since = begin.Round(time.Second)
			}
			if !f.Tick.After(since) {
				r.Fatalf("after %s comes %s", since, f.Tick)
			}
			m := f.MissedSince(last)
			// As many intervals as fit between the two, less the one that ends with this.
			if want := int(f.Tick.Sub(since)/every) - 1; m.Count != want {
				r.Fatalf("from %s to %s: %d are missed, want %d", since, f.Tick, m.Count, want)
			}
			if m.Count > 0 && (!m.From.Equal(since.Add(every)) || !m.To.Before(f.Tick) || m.To.Before(m.From)) {
				r.Fatalf("between %s and %s: %+v", since, f.Tick, m)
			}
			last, due = f.Tick, next
		}
	})
}

// An id is a name for one tick, and for no other schedule's.
func FuzzTickID(f *testing.F) {
	f.Add("nightly", int64(1_793_000_000), "nightly-20261025T003000Z", int64(0))
	f.Add("a", int64(0), "b", int64(1))
	f.Fuzz(func(t *testing.T, name string, at int64, other string, later int64) {
		if schedule.CheckName(name) != nil || schedule.CheckName(other) != nil {
			return
		}
		const first, most = -62_135_596_800, 253_402_300_799 // the years 1 to 9999
		if at < first || at > most || later < first || later > most {
			return
		}
		id := schedule.TickID(name, time.Unix(at, 0))
		if err := pb.CheckQueueID(id); err != nil {
			t.Errorf("%q: %s", id, err)
		}
		if other != name && !strings.HasPrefix(other, name+"-") && !strings.HasPrefix(name, other+"-") && id == schedule.TickID(other, time.Unix(at, 0)) {
			t.Errorf("%q is also that of %q", id, other)
		}
		if at != later && id == schedule.TickID(name, time.Unix(later, 0)) {
			t.Errorf("%q is also that of another time", id)
		}
	})
}

// Whatever a fire's headers say, reading it ends, and gives a tick in whole seconds.
func FuzzFire(f *testing.F) {
	f.Add(`{"cron":"* * * * *","tz":"Europe/Berlin","since":"2026-10-25T00:00:00Z"}`, "2026-10-25T00:31:00Z", "")
	f.Add(`{"every":"5m"}`, "2026-10-25T00:31:00.5Z", "")
	f.Add(`{"at":"2026-10-25T00:31:00Z"}`, "purge", "")
	f.Add(`{"cron":"30 2 * * *","tz":"Europe/Berlin"}`, "x", "2027-03-28T01:00:00Z")
	space, _ := subjects.New("runner")
	f.Fuzz(func(t *testing.T, spec, next, gap string) {
		if len(spec) == 0 {
			return // another client's: it is asked for
		}
		header := nats.Header{schedule.HeaderSchedule: []string{spec}, "Nats-Schedule-Next": []string{next}}
		if gap != "" {
			header.Set(schedule.HeaderGap, gap)
		}
		stored := time.Date(2026, 11, 26, 12, 0, 0, 5e8, time.UTC)
		var given schedule.Spec
		if json.Unmarshal([]byte(spec), &given) != nil || given.Cron == "" && given.Every == "" && given.At == nil {
			return
		}
		fire, err := schedule.New(schedule.Config{Space: space}).Fire(t.Context(), message{subject: "runner.schedule.fired.all._all.s", header: header, stored: stored})
		if err != nil {
			return
		}
		if !fire.Tick.Equal(fire.Tick.Truncate(time.Second)) && gap == "" {
			t.Errorf("%q, %q: the tick is %s", spec, next, fire.Tick)
		}
		m := fire.MissedSince(fire.Tick.Add(-time.Hour))
		if m.Count < 0 || m.Count > 3600 {
			t.Errorf("%q, %q: %+v in an hour", spec, next, m)
		}
	})
}
