package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// moveGap puts the next gap of a definition in the place of an old one's.
func (s *Store) moveGap(ctx context.Context, def Schedule) error {
	subject := s.cfg.Space.ScheduleGap(def.Name)
	if _, err := s.stream.Last(ctx, subject); err == nil {
		if err := s.purge(ctx, subject); err != nil {
			return fmt.Errorf("cannot remove the old gap of schedule %s: %w", def.Name, err)
		}
	}
	if def.Paused != nil {
		return nil
	}
	return s.KeepGap(ctx, def, def.Since)
}

// KeepGap has the server fire at the first instant after t at which the wall
// clock jumps over a tick, if it ever does.
func (s *Store) KeepGap(ctx context.Context, def Schedule, t time.Time) error {
	p, err := def.Pattern()
	if err != nil {
		return err
	}
	gap := p.NextGap(t)
	if gap.IsZero() {
		return nil
	}
	subject := s.cfg.Space.ScheduleGap(def.Name)
	if have, err := s.stream.Last(ctx, subject); err == nil && have.Header.Get(HeaderGap) == gap.Format(time.RFC3339) && have.Header.Get(headerRev) == fmt.Sprint(def.Rev) {
		return nil
	}
	m, err := s.message(def)
	if err != nil {
		return err
	}
	m.Subject = subject
	m.Header.Del(headerZone)
	m.Header.Set(headerPattern, "@at "+gap.Format(time.RFC3339))
	m.Header.Set(HeaderGap, gap.Format(time.RFC3339))
	m.Header.Set(headerRev, fmt.Sprint(def.Rev))
	m.Header.Set(nats.MsgRollup, nats.MsgRollupSubject)
	if _, err := s.cfg.JS.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("cannot store the next gap of schedule %s: %w", def.Name, err)
	}
	return nil
}

// headerRev says which revision of the definition a gap belongs to.
const headerRev = "Runner-Schedule-Rev"
