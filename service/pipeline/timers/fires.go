package timers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// follow takes fires until ctx ends or the consumer fails. Those of one schedule
// are handled in their order, those of several at once.
func (t *Timers) follow(ctx context.Context) error {
	if err := t.cfg.Schedules.EnsureConsumer(ctx, subjects.PipelinesPool); err != nil {
		return err
	}
	consumer, err := t.cfg.JS.Consumer(ctx, t.cfg.Space.ScheduleStream(), subjects.FireConsumer(subjects.PipelinesPool))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var hands sync.WaitGroup
	defer func() {
		cancel()
		hands.Wait()
		t.giveBack()
	}()
	hands.Go(func() { t.hold(ctx) })
	return schedule.Read(ctx, consumer, func(ctx context.Context, m jetstream.Msg) {
		t.mu.Lock()
		defer t.mu.Unlock()
		line := append(t.lines[m.Subject()], m)
		if t.lines[m.Subject()] = line; len(line) == 1 {
			hands.Go(func() { t.serve(ctx, m.Subject()) })
		}
	})
}

// serve handles the fires of one schedule until none is left, or ctx ends: then
// those that are left are another engine's.
func (t *Timers) serve(ctx context.Context, subject string) {
	for {
		t.mu.Lock()
		if len(t.lines[subject]) == 0 {
			delete(t.lines, subject)
			t.mu.Unlock()
			return
		}
		m := t.lines[subject][0]
		t.mu.Unlock()
		if !t.handle(ctx, m) {
			return
		}
		_ = m.Ack() // if it is lost, the fire comes again and is passed over
		t.mu.Lock()
		t.lines[subject] = t.lines[subject][1:]
		t.mu.Unlock()
	}
}

// handle tries until a fire is dealt with; false says that ctx has ended.
func (t *Timers) handle(ctx context.Context, m jetstream.Msg) bool {
	for try := 1; ctx.Err() == nil; try++ {
		fire, err := t.cfg.Schedules.Fire(ctx, m)
		if err == nil {
			err = t.cfg.Schedules.Handle(ctx, fire, t.place())
		}
		if err == nil {
			err = t.cfg.Schedules.Keep(ctx, fire)
		}
		if err == nil {
			return true
		}
		if errors.As(err, new(*pb.InvalidError)) {
			t.cfg.Logger.Warn("cannot read what a pipeline's schedule has fired", "schedule", fire.Name, "error", err)
			return true
		}
		t.cfg.Logger.Debug("cannot handle a tick now", "schedule", fire.Name, "tick", fire.Tick, "error", err)
		stream.Pause(ctx, stream.RetryWait(try))
	}
	return false
}

// hold tells the server that what is in hand is not forgotten.
func (t *Timers) hold(ctx context.Context) {
	for stream.Pause(ctx, schedule.AckWait/3) {
		for _, m := range t.inHand() {
			_ = m.InProgress()
		}
	}
}

// giveBack has another engine get what is in hand at once.
func (t *Timers) giveBack() {
	for _, m := range t.inHand() {
		_ = m.Nak()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.lines)
}

func (t *Timers) inHand() (all []jetstream.Msg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range t.lines {
		all = append(all, line...)
	}
	return all
}

// place is where ticks of pipelines are handled: once in the fleet. A schedule that
// no pipeline has any more does nothing.
func (t *Timers) place() schedule.Place {
	tickOf := func(fire schedule.Fire, job string) (Tick, bool) {
		tick, wanted := t.wanted()[fire.Name]
		tick.Job = job
		return tick, wanted
	}
	note := func(ctx context.Context, fire schedule.Fire, n schedule.Note) error {
		tick, wanted := tickOf(fire, n.ID)
		if !wanted {
			return nil
		}
		return t.cfg.Note(ctx, tick, n.Text)
	}
	return schedule.Place{
		ID:   func(fire schedule.Fire, due time.Time) string { return JobID(fire.Name, due) },
		Live: t.cfg.Live,
		Start: func(ctx context.Context, fire schedule.Fire, id, after string) error {
			tick, wanted := tickOf(fire, id)
			if !wanted {
				return nil
			}
			tick.After = after
			err := t.cfg.Start(ctx, tick)
			if refused := (*RefusedError)(nil); errors.As(err, &refused) {
				return note(ctx, fire, schedule.Note{ID: id, Reason: pb.ReasonRejected, Text: refused.Error()})
			}
			return err
		},
		Note: note,
	}
}

// space of the ids of jobs that a schedule has started.
var space = uuid.MustParse("6c0f1d5e-52f4-4a80-9d53-0c1b1f6d2a57")

// JobID is the id of a tick's job.
func JobID(name string, tick time.Time) string {
	return uuid.NewSHA1(space, []byte(schedule.TickID(name, tick))).String()
}
