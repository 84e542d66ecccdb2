package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
)

// FireNow has each runner that a schedule for all is meant for run it now, beside
// its ticks, and returns the id of the group of runs.
func (s *Store) FireNow(ctx context.Context, def Schedule) (id string, err error) {
	now, err := s.cfg.ServerTime(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot run schedule %s now: %w", def.Name, err)
	}
	spec, err := def.header()
	if err != nil {
		return "", err
	}
	body, err := pb.MarshalJSON(def.Task)
	if err != nil {
		return "", err
	}
	id = NowID(def.Name, now)
	m := &nats.Msg{Subject: s.cfg.Space.Fired(true, def.PoolOrDefault(), def.Name), Data: body, Header: nats.Header{}}
	m.Header.Set(HeaderSchedule, spec)
	m.Header.Set(HeaderNow, id)
	if _, err := s.cfg.JS.PublishMsg(ctx, m, jetstream.WithMsgTTL(max(def.Deadline().Round(time.Second), time.Second))); err != nil {
		return "", fmt.Errorf("cannot run schedule %s now: %w", def.Name, err)
	}
	return id, nil
}
