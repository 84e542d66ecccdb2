package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/schedule/fires"
	"github.com/runnel-io/runnel/subjects"
)

// openSchedules makes what handles the fires of schedules, once there are any.
func (s *Service) openSchedules() {
	s.waiting.schedules = schedule.New(schedule.Config{JS: s.conns.js, Space: s.space, Replicas: s.cfg.Replicas, ServerTime: s.store.ServerTime})
	s.waiting.fires = fires.New(fires.Config{
		Name: s.cfg.Name, Pools: s.cfg.Pools, Space: s.space, JS: s.conns.js, Records: s.store, Runner: s.runner, Logger: s.log,
		Schedules: s.waiting.schedules,
		Work:      s.waiting.work,
		Policy:    s.runPolicy,
		Matches:   s.matcher(),
		Abort:     s.abortAnywhere,
	})
	s.life.onClose(s.waiting.fires.Wait)
}

// abortPatience is for the way of a request to abort and of its answer.
const abortPatience = 2 * time.Second

// abortAnywhere asks as a client would: whoever has the run ends it. That it has
// ended already, or is gone, is no error.
func (s *Service) abortAnywhere(ctx context.Context, id string, wait time.Duration) error {
	body, err := pb.MarshalJSON(&pb.AbortRequest{Kind: pb.Kind, Spec: &pb.AbortSpec{Abort: &pb.Abort{Run: id, Wait: wait.String()}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait+abortPatience)
	defer cancel()
	m, err := s.conns.nc.RequestWithContext(ctx, s.space.Request(subjects.Abort, subjects.Any), body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil
	case err != nil:
		return fmt.Errorf("cannot abort run %s: %w", id, err)
	}
	switch code := m.Header.Get(micro.ErrorCodeHeader); code {
	case "", "404":
		return nil
	default:
		return fmt.Errorf("cannot abort run %s: %s", id, m.Header.Get(micro.ErrorHeader))
	}
}
