package pipeline

import (
	"cmp"
	"context"
	"errors"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/timers"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
	"github.com/runnel-io/runnel/service/schedule"
)

// scheduleUser is who starts the jobs of a pipeline's schedule.
const scheduleUser = "schedule"

func (t *term) newTimers() *timers.Timers {
	return timers.New(timers.Config{
		JS: t.e.cfg.JetStream, Space: t.e.space, Logger: t.e.log,
		Schedules: schedule.New(schedule.Config{JS: t.e.cfg.JetStream, Space: t.e.space, Replicas: t.e.cfg.Replicas, ServerTime: t.e.store.ServerTime}),
		Pipelines: t.current,
		Live:      t.jobLives, Start: t.startTick, Note: t.noteTick,
	})
}

// current are the pipelines that new jobs can be made of.
func (t *term) current() map[string]*definition.Pipeline {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]*definition.Pipeline{}
	for name, d := range t.defs {
		if !d.Removed {
			all[name] = d.Pipeline
		}
	}
	return all
}

func (t *term) jobLives(_ context.Context, id string) (bool, error) {
	j, err := t.readJob(id)
	if errors.Is(err, client.ErrUnknownJob) {
		return false, nil
	}
	return err == nil && !j.job.GetCompleted(), err
}

// startTick schedules the job of a tick, once.
func (t *term) startTick(ctx context.Context, tick timers.Tick) error {
	if tick.After != "" {
		if err := t.endJob(ctx, tick.After); err != nil {
			return err
		}
	}
	if _, err := t.readJob(tick.Job); !errors.Is(err, client.ErrUnknownJob) {
		return err // it is there: also with variables that the definition had before
	}
	_, err := t.schedule(tick.Job, &pb.ScheduleJob{Pipeline: tick.Pipeline, VariablesJson: string(tick.Timer.Variables), User: scheduleUser})
	if errors.Is(err, waitlist.ErrNoQueue) || errors.Is(err, waitlist.ErrQueueFull) || errors.As(err, new(*pb.InvalidError)) {
		return &timers.RefusedError{Cause: err}
	}
	return err
}

// endJob cancels a job that the next tick replaces, and waits for its end.
func (t *term) endJob(ctx context.Context, id string) error {
	_, err := t.cancel(&pb.CancelJob{Id: id, User: scheduleUser, Reason: "replaced by the schedule's next job"})
	if errors.Is(err, client.ErrUnknownJob) {
		return nil
	}
	if err != nil {
		return err
	}
	w := t.workOf(id)
	if w == nil {
		return nil
	}
	select {
	case <-w.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noteTick makes the record of a job that is over before it begins.
func (t *term) noteTick(_ context.Context, tick timers.Tick, why string) error {
	d := t.definition(tick.Pipeline)
	if d == nil {
		return nil
	}
	if _, err := t.readJob(tick.Job); !errors.Is(err, client.ErrUnknownJob) {
		return err
	}
	job := newJob(d)
	job.Id, job.User, job.VariablesJson, job.Created = tick.Job, scheduleUser, cmp.Or(string(tick.Timer.Variables), "{}"), stamp(now())
	endUnstarted(job, "", why)
	if _, err := t.e.defs.GetLeader(t.ctx, records.InputKey(job.GetId())); errors.Is(err, kv.ErrNoKey) { // for who runs it all the same
		if err := t.saveInput(job.GetId(), t.inputOf(d)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if _, err := t.saveJob(job, 0); err != nil {
		return err
	}
	t.tasks.Go(func() { t.retain(tick.Pipeline) })
	return nil
}
