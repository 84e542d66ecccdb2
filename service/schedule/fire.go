package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/subjects"
)

// Fire is a message by which a schedule says that it is due.
type Fire struct {
	Schedule
	All  bool
	Pool string
	// Tick that it stands for.
	Tick time.Time
	// MadeUp: the wall clock jumped over the tick.
	MadeUp bool
	// Now is the id of the group of runs, of a fire that somebody asked for.
	Now string
	// Repeated: it is the second time of a wall clock that was put back.
	Repeated bool
}

// Fire reads a message of the stream.
func (s *Store) Fire(ctx context.Context, m jetstream.Msg) (Fire, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Fire{}, err
	}
	all, pool, name, ok := s.cfg.Space.ParseFired(m.Subject())
	if !ok {
		return Fire{}, fmt.Errorf("%s is no subject of a fire", m.Subject())
	}
	f := Fire{All: all, Pool: pool, Schedule: Schedule{Name: name}}
	def, err := s.read(name, m.Headers(), m.Data(), 0)
	if err != nil {
		return f, err
	}
	if def.Cron == "" && def.Every == "" && def.At == nil { // another client's schedule
		if known, err := s.Get(ctx, name); err == nil {
			known.Task = def.Task
			def = known
		} else {
			def.At = &meta.Timestamp // its definition went with its only fire
		}
	}
	def.All = all
	f.Schedule = def
	if now := m.Headers().Get(HeaderNow); now != "" {
		f.Tick, f.Now = meta.Timestamp.UTC().Truncate(time.Second), now
		return f, subjects.Token(now)
	}
	return f, f.findTick(m.Headers(), meta.Timestamp)
}

// findTick says which tick a fire stands for. It tells when the next is due.
func (f *Fire) findTick(h nats.Header, stored time.Time) error {
	if gap := h.Get(HeaderGap); gap != "" {
		at, err := time.Parse(time.RFC3339, gap)
		f.Tick, f.MadeUp = at.UTC(), true
		return err
	}
	p, err := f.Pattern()
	if err != nil {
		return err
	}
	if p.Once() {
		f.Tick = f.At.UTC().Truncate(time.Second)
		return nil
	}
	next, err := time.Parse(time.RFC3339Nano, h.Get(headerNext))
	if err != nil {
		// Published by hand: it is its own tick.
		f.Tick = stored.UTC().Truncate(time.Second)
		return nil
	}
	f.Tick = p.Prev(next).UTC()
	if brokenArrival {
		f.Tick = time.Now().UTC().Truncate(time.Second)
	}
	f.Repeated = p.Repeated(f.Tick)
	return nil
}

// Missed is the ticks that nobody has heard of.
type Missed struct {
	Count    int
	From, To time.Time
}

// maxMissed bounds the count: a schedule of a second may have been away for a year.
const maxMissed = 1_000_000

// MissedSince counts the ticks between the last one handled and this one.
func (f *Fire) MissedSince(last time.Time) (m Missed) {
	p, err := f.Pattern()
	if err != nil || p.Once() {
		return m
	}
	if last.Before(f.Since) {
		last = f.Since
	}
	if last.IsZero() {
		return m
	}
	if every := p.Interval(); every > 0 {
		// The server counts anew from when it came back.
		last = last.Round(time.Second)
		m.Count = int(f.Tick.Sub(last)/every) - 1
		if m.Count > 0 {
			m.From, m.To = last.Add(every), f.Tick.Add(-time.Second)
		}
		return Missed{Count: max(0, m.Count), From: m.From, To: m.To}
	}
	for due := range p.Between(last, f.Tick.Add(-time.Second)) {
		if !f.Within(due.At) {
			continue
		}
		if m.Count == 0 {
			m.From = due.At
		}
		m.To = due.At
		if m.Count++; m.Count == maxMissed {
			break
		}
	}
	return m
}
