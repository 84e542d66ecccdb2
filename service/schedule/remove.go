package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/stream"
)

// Remove removes a schedule, its gap, what it has fired and not been taken, and
// what is known of it. Runs that it has started go on. A user of a role may not
// purge, and does what Withdraw does. Error: ErrUnknown.
func (s *Store) Remove(ctx context.Context, name string) error {
	def, err := s.Get(ctx, name)
	var invalid *pb.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		return err
	}
	if !stream.Tidies(s.cfg.JS.Conn()) {
		return s.Withdraw(ctx, name)
	}
	for _, subject := range []string{
		s.cfg.Space.ScheduleDef(name), s.cfg.Space.ScheduleGap(name), s.cfg.Space.Fired(def.All, def.PoolOrDefault(), name),
	} {
		if err := s.purge(ctx, subject); err != nil {
			return fmt.Errorf("cannot remove schedule %s: %w", name, err)
		}
	}
	return s.forget(ctx, name)
}

// Withdraw is Remove for those who may write definitions and may not purge: what
// stands in their place is gone after a second. What was fired stays.
func (s *Store) Withdraw(ctx context.Context, name string) error {
	for _, subject := range []string{s.cfg.Space.ScheduleGap(name), s.cfg.Space.ScheduleDef(name)} {
		if err := s.mark(ctx, subject); err != nil {
			return fmt.Errorf("cannot remove schedule %s: %w", name, err)
		}
	}
	b, err := s.open(ctx, false)
	if err != nil {
		return err
	}
	last, err := s.Last(ctx, name, "")
	if err == nil && last.rev != 0 {
		err = b.Delete(ctx, lastKey(name, ""), last.rev, 0)
	}
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return nil
	}
	return err
}

// mark has nothing be on a subject, for those who may not purge.
func (s *Store) mark(ctx context.Context, subject string) error {
	last, err := s.stream.Last(ctx, subject)
	if errors.Is(err, stream.ErrNoMessage) || err == nil && isMarker(last) {
		return nil
	}
	if err == nil {
		m := &nats.Msg{Subject: subject, Header: nats.Header{nats.MsgRollup: []string{nats.MsgRollupSubject}}}
		_, err = s.stream.Publish(ctx, m, last.Seq, jetstream.WithMsgTTL(markerLife))
	}
	if stream.IsWrongLast(err) {
		return nil
	}
	return err
}

// markerLife is how long what has replaced a definition is kept.
const markerLife = time.Second

func (s *Store) purge(ctx context.Context, subject string) error {
	if !stream.Tidies(s.cfg.JS.Conn()) {
		return s.mark(ctx, subject)
	}
	st, err := s.cfg.JS.Stream(ctx, s.stream.Name)
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}
