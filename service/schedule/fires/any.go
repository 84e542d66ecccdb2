package fires

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/work"
)

// forAny hands a fire on to the durable queue.
func (f *Fires) forAny(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, handleTimeout)
	defer cancel()
	fire, err := f.cfg.Schedules.Fire(ctx, m)
	if err != nil {
		var invalid *pb.InvalidError
		if errors.As(err, &invalid) {
			f.log.Warn("cannot read what a schedule has fired", "schedule", fire.Name, "error", err)
			_ = m.Term()
			return
		}
		_ = m.NakWithDelay(time.Second)
		return
	}
	err = f.cfg.Schedules.Handle(ctx, fire, f.fleet())
	if err == nil {
		err = f.cfg.Schedules.Keep(ctx, fire)
	}
	if err != nil {
		f.log.Debug("cannot handle a fire now", "schedule", fire.Name, "tick", fire.Tick, "error", err)
		_ = m.NakWithDelay(time.Second)
		return
	}
	_ = m.Ack()
}

// fleet is the place of what any runner of a pool does.
func (f *Fires) fleet() schedule.Place {
	id := func(fire schedule.Fire, tick time.Time) string { return schedule.TickID(fire.Name, tick) }
	return schedule.Place{ID: id, Live: f.waits, Start: f.enqueue, Note: f.note}
}

// waits says whether work has not ended: its message is there until then.
func (f *Fires) waits(ctx context.Context, id string) (bool, error) {
	_, err := f.cfg.Work.Get(ctx, id)
	if errors.Is(err, work.ErrNotWaiting) {
		return false, nil
	}
	return err == nil, err
}

// enqueue makes work of a tick.
func (f *Fires) enqueue(ctx context.Context, fire schedule.Fire, id, after string) error {
	made, err := f.cfg.Work.Ensure(ctx)
	if err != nil {
		return err
	}
	if made { // those that take work don't know of the queue yet
		defer func() { _ = f.cfg.JS.Conn().Publish(f.cfg.Space.QueueTell(fire.Pool), nil) }()
	}
	req := fire.Request(id)
	task := req.GetSpec().GetTask()
	if after != "" {
		if err := f.cfg.Abort(ctx, after, 0); err != nil {
			return err
		}
	}
	if fire.OverlapOrDefault() == schedule.Replace {
		// Whoever takes it waits for the end of the one before.
		task.Concurrency = &pb.Concurrency{Key: "schedule/" + fire.Name, Max: 1}
	}
	if d := offset(id, fire.JitterMax()); d > 0 && task.GetDelay() == "" {
		task.Delay = d.Round(time.Second).String()
	}
	_, err = f.cfg.Work.Put(ctx, work.Item{Pool: fire.Pool, Request: req})
	var invalid *pb.InvalidError
	if errors.Is(err, work.ErrConflict) || errors.As(err, &invalid) {
		f.log.Warn("cannot queue what a schedule has fired", "schedule", fire.Name, "run", id, "error", err)
		return f.note(ctx, fire, schedule.Note{ID: id, Reason: pb.ReasonRejected, Text: err.Error()})
	}
	return err
}
