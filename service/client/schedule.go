package client

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
)

// Conditions of schedules, to test for with errors.Is.
var (
	// ErrUnknownSchedule: there is no schedule of that name.
	ErrUnknownSchedule = schedule.ErrUnknown
	// ErrScheduleChanged: another client has changed it since it was read.
	ErrScheduleChanged = schedule.ErrChanged
)

// Schedule says when the NATS server has a task run, where, and what becomes of a
// tick that can't have its run. See its fields.
type Schedule = schedule.Schedule

// schedules are the fleet's.
func (c *Client) schedules(ctx context.Context) (*schedule.Store, error) {
	records, err := c.records(ctx)
	if err != nil {
		return nil, err
	}
	return schedule.New(schedule.Config{JS: c.js, Space: c.space, ServerTime: records.ServerTime}), nil
}

// PutSchedule stores a schedule: a new one if its Rev is 0, else over the
// revision that was read. Runners need not be there. Errors: ErrScheduleChanged,
// *pb.InvalidError.
func (c *Client) PutSchedule(ctx context.Context, s Schedule) (Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return s, err
	}
	if !s.All { // its ticks become work, and runners may not be allowed to make a queue
		if _, err := c.makeQueue(ctx); err != nil {
			return s, err
		}
	}
	return all.Put(ctx, s, s.Rev)
}

// Schedules lists all, by name.
func (c *Client) Schedules(ctx context.Context) ([]Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return nil, err
	}
	return all.List(ctx)
}

// GetSchedule reads one. Error: ErrUnknownSchedule.
func (c *Client) GetSchedule(ctx context.Context, name string) (Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return Schedule{}, err
	}
	return all.Get(ctx, name)
}

// RemoveSchedule removes one; runs that it has started go on. Error:
// ErrUnknownSchedule.
func (c *Client) RemoveSchedule(ctx context.Context, name string) error {
	all, err := c.schedules(ctx)
	if err != nil {
		return err
	}
	if s, err := all.Get(ctx, name); err == nil && s.Pipeline != "" {
		return fmt.Errorf("cannot remove schedule %s: it belongs to pipeline %q: take it out of the definition, or pause it", name, s.Pipeline)
	}
	return all.Remove(ctx, name)
}

// PauseSchedule keeps a schedule from firing until it is resumed. The ticks of a
// pause are not made up for. by is who asks, for those who read it. Error:
// ErrUnknownSchedule.
func (c *Client) PauseSchedule(ctx context.Context, name, by string) (Schedule, error) {
	return c.pauseSchedule(ctx, name, true, by)
}

// ResumeSchedule ends a pause. Error: ErrUnknownSchedule.
func (c *Client) ResumeSchedule(ctx context.Context, name string) (Schedule, error) {
	return c.pauseSchedule(ctx, name, false, "")
}

func (c *Client) pauseSchedule(ctx context.Context, name string, paused bool, by string) (Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return Schedule{}, err
	}
	return all.SetPaused(ctx, name, paused, by)
}

// FireSchedule has a schedule's task run now, beside its ticks, and returns the
// id of the work, or of the group of runs. Error: ErrUnknownSchedule.
func (c *Client) FireSchedule(ctx context.Context, name string) (id string, err error) {
	s, err := c.GetSchedule(ctx, name)
	if err != nil {
		return "", err
	}
	if s.Pipeline != "" {
		return "", fmt.Errorf("cannot run schedule %s now: it starts jobs of pipeline %q (runnel pipeline run)", name, s.Pipeline)
	}
	if s.All {
		return "", fmt.Errorf("cannot run schedule %s now: it is for all runners; start its task with the same selection", name)
	}
	id = schedule.TickID(name, time.Now()) + "-now"
	_, err = c.Enqueue(ctx, Work{Pool: s.PoolOrDefault(), Task: s.Request(id)})
	return id, err
}

// ScheduleRuns lists the records of a schedule's ticks, the newest first: also of
// those that have no run.
func (c *Client) ScheduleRuns(ctx context.Context, name string, limit int) ([]*pb.Run, error) {
	reply, err := c.Query(ctx, &pb.Query{All: true, Tags: map[string]string{schedule.TagSchedule: name}, Limit: int64(limit)})
	return reply.GetRuns(), err
}
