package schedule

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/stream"
)

// Put stores a schedule over revision rev, whose pause it keeps: 0 for a new one.
// Its ticks count from now. Errors: ErrChanged, ErrServer, *pb.InvalidError.
func (s *Store) Put(ctx context.Context, def Schedule, rev uint64) (Schedule, error) {
	now, err := s.cfg.ServerTime(ctx)
	if err != nil {
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, err)
	}
	if err := def.Check(now); err != nil {
		return def, err
	}
	if def.Paused, err = s.pauseOf(ctx, def.Name, rev); err != nil {
		return def, err
	}
	if err := s.ensure(ctx); err != nil {
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, err)
	}
	if !def.All && stream.Tidies(s.cfg.JS.Conn()) { // else the pool's runners make it
		if err := s.EnsureConsumer(ctx, def.PoolOrDefault()); err != nil {
			return def, err
		}
	}
	// Once more: the first use takes a while, and its ticks would count as missed.
	if now, err = s.cfg.ServerTime(ctx); err != nil {
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, err)
	}
	def.Since = now.UTC()
	return s.publish(ctx, def, rev)
}

// Change stores a schedule over the one that is there: revision rev of it, or any
// if that is 0. Errors: ErrUnknown, and those of Put.
func (s *Store) Change(ctx context.Context, def Schedule, rev uint64) (Schedule, error) {
	there, err := s.Get(ctx, def.Name)
	var invalid *pb.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		return def, err
	}
	if there.Pipeline != "" {
		return def, there.Owned("change")
	}
	if rev == 0 {
		rev = there.Rev
	}
	return s.Put(ctx, def, rev)
}

// pauseOf is the pause of the schedule that is written over.
func (s *Store) pauseOf(ctx context.Context, name string, rev uint64) (*Pause, error) {
	if rev == 0 {
		return nil, nil
	}
	there, err := s.Get(ctx, name)
	var invalid *pb.InvalidError
	switch {
	case errors.As(err, &invalid): // another client's, which is none
		return nil, nil
	case errors.Is(err, ErrUnknown), err == nil && there.Rev != rev:
		return nil, fmt.Errorf("cannot store schedule %s: %w", name, ErrChanged)
	}
	return there.Paused, err
}

// existsError is an ErrChanged: there is a schedule of the name already.
type existsError string

func (e existsError) Error() string {
	return "cannot store schedule " + string(e) + ": there is one of that name"
}

func (e existsError) Is(target error) bool { return target == ErrChanged }

// publish stores a definition that was checked, and the message of its next gap.
func (s *Store) publish(ctx context.Context, def Schedule, rev uint64) (Schedule, error) {
	m, err := s.message(def)
	if err != nil {
		return def, err
	}
	// The client adds headers of its own to what it publishes; the last message of
	// the subject alone is wanted.
	m.Header.Set(nats.MsgRollup, nats.MsgRollupSubject)
	ack, err := s.stream.Publish(ctx, m, rev)
	if stream.IsWrongLast(err) && rev == 0 {
		if marker, getErr := s.Get(ctx, def.Name); errors.Is(getErr, ErrUnknown) && marker.Rev > 0 { // removed just now
			ack, err = s.stream.Publish(ctx, m, marker.Rev)
		}
	}
	switch {
	case stream.IsWrongLast(err) && rev == 0:
		if now, getErr := s.Get(ctx, def.Name); getErr == nil {
			return now, existsError(def.Name)
		}
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, ErrChanged)
	case stream.IsWrongLast(err):
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, ErrChanged)
	case err != nil:
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, explain(err))
	}
	def.Rev = ack.Sequence
	if err := s.moveGap(ctx, def); err != nil {
		return def, err
	}
	return def, s.cfg.JS.Conn().Publish(s.cfg.Space.ScheduleTell(), nil)
}

// explain puts what the server refuses into a reader's words.
func explain(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeUnknownZone {
		return fmt.Errorf("the NATS server does not know the time zone; install its zone database (tzdata): %w", err)
	}
	return err
}

// codeUnknownZone is the server's for a zone that it can't load.
const codeUnknownZone jetstream.ErrorCode = 10223

// message is a definition as the server takes it. Without the headers of a
// schedule, which a paused one hasn't, the server forgets the one before.
func (s *Store) message(def Schedule) (*nats.Msg, error) {
	spec, err := def.header()
	if err != nil {
		return nil, err
	}
	body, err := pb.MarshalJSON(def.Task)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: s.cfg.Space.ScheduleDef(def.Name), Data: body, Header: nats.Header{}}
	m.Header.Set(HeaderSchedule, spec)
	if def.Paused != nil {
		return m, nil
	}
	p, err := def.Pattern()
	if err != nil {
		return nil, err
	}
	m.Header.Set(headerPattern, p.String())
	if p.Zone() != "" {
		m.Header.Set(headerZone, p.Zone())
	}
	s.target(m, def)
	return m, nil
}

// The server's headers of a schedule, and of what it fires.
const (
	headerPattern   = "Nats-Schedule"
	headerZone      = "Nats-Schedule-Time-Zone"
	headerTarget    = "Nats-Schedule-Target"
	headerTTL       = "Nats-Schedule-TTL"
	headerScheduler = "Nats-Scheduler"
	headerNext      = "Nats-Schedule-Next"
)

func (s *Store) target(m *nats.Msg, def Schedule) {
	m.Header.Set(headerTarget, s.cfg.Space.Fired(def.All, def.PoolOrDefault(), def.Name))
	m.Header.Set(headerTTL, fireLife.String())
}

// SetPaused pauses a schedule or resumes it. Ticks of a pause are not made up for.
func (s *Store) SetPaused(ctx context.Context, name string, paused bool, by string) (Schedule, error) {
	def, err := s.Get(ctx, name)
	if err != nil || paused == (def.Paused != nil) {
		return def, err
	}
	now, err := s.cfg.ServerTime(ctx)
	if err != nil {
		return def, fmt.Errorf("cannot change schedule %s: %w", name, err)
	}
	def.Paused, def.Since = nil, now.UTC()
	if paused {
		def.Paused = &Pause{Since: now.UTC(), By: by}
	}
	return s.publish(ctx, def, def.Rev)
}
