package client

import (
	"context"
	"errors"
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
	// ErrScheduleOwned: a pipeline's definition has the schedule.
	ErrScheduleOwned = schedule.ErrOwned
)

// Schedule says when and where the NATS server has a task run, and what becomes of a
// tick that can't run. See its fields.
type Schedule = schedule.Schedule

// schedules are the fleet's.
func (c *Client) schedules(ctx context.Context) (*schedule.Store, error) {
	records, err := c.link.Records(ctx)
	if err != nil {
		return nil, err
	}
	return schedule.New(schedule.Config{JS: c.link.JS, Space: c.link.Space, ServerTime: records.ServerTime}), nil
}

// PutSchedule stores a schedule: a new one if its Rev is 0, else over the revision
// that was read. No runner need be online. Errors: ErrScheduleChanged,
// *pb.InvalidError.
func (c *Client) PutSchedule(ctx context.Context, s Schedule) (Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return s, err
	}
	if err := schedule.CheckServer(c.link.NC); err != nil {
		return s, fmt.Errorf("cannot store schedule %s: %w", s.Name, err)
	}
	if !s.All { // its ticks become work, and runners may not be allowed to make a queue
		if _, err := c.link.MakeQueue(ctx); err != nil {
			return s, err
		}
	}
	return all.Put(ctx, s, s.Rev)
}

// Schedules lists all, by name. A fleet without any is no error.
func (c *Client) Schedules(ctx context.Context) ([]Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return nil, noneIfUnused(err)
	}
	return all.List(ctx)
}

// GetSchedule reads one schedule. Error: ErrUnknownSchedule.
func (c *Client) GetSchedule(ctx context.Context, name string) (Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return Schedule{}, err
	}
	return all.Get(ctx, name)
}

// RemoveSchedule removes a schedule; runs that it has started go on. Error:
// ErrUnknownSchedule.
func (c *Client) RemoveSchedule(ctx context.Context, name string) error {
	all, err := c.schedules(ctx)
	if err != nil {
		return err
	}
	if s, err := all.Get(ctx, name); err == nil && s.Pipeline != "" {
		return s.Owned("remove")
	}
	return all.Remove(ctx, name)
}

// PauseSchedule keeps a schedule from firing until it is resumed. Ticks during a pause
// are not made up for. by says who paused it, for its readers. Error:
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

// FireSchedule runs a schedule's task now, in addition to its ticks and even while it
// is paused, and returns the id of the work or, for all runners, of the group of runs.
// Error: ErrUnknownSchedule.
func (c *Client) FireSchedule(ctx context.Context, name string) (id string, err error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return "", err
	}
	s, err := all.Get(ctx, name)
	if err != nil {
		return "", err
	}
	if s.Pipeline != "" {
		return "", s.Owned("run")
	}
	if s.All {
		return all.FireNow(ctx, s)
	}
	id = schedule.NowID(name, time.Now())
	_, err = c.Enqueue(ctx, Work{Pool: s.PoolOrDefault(), Task: s.Request(id)})
	return id, err
}

// ChangeSchedule stores a schedule over the one that is there, which keeps its
// pause: over revision Rev of it, or any if that is 0. Errors: ErrUnknownSchedule,
// ErrScheduleChanged, *pb.InvalidError.
func (c *Client) ChangeSchedule(ctx context.Context, s Schedule) (Schedule, error) {
	all, err := c.schedules(ctx)
	if err != nil {
		return s, err
	}
	if !s.All {
		if _, err := c.link.MakeQueue(ctx); err != nil {
			return s, err
		}
	}
	return all.Change(ctx, s, s.Rev)
}

// ScheduleOf is the schedule that a message of the wire has.
func ScheduleOf(m *pb.Schedule) Schedule { return schedule.FromMessage(m) }

// ShownSchedules lists all by name, each with its next ticks and the newest record
// of those that it had.
func (c *Client) ShownSchedules(ctx context.Context) ([]*pb.Schedule, error) {
	all, err := c.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	shown := make([]*pb.Schedule, len(all))
	for i, s := range all {
		if shown[i], err = c.shown(ctx, s); err != nil {
			return nil, err
		}
	}
	return shown, nil
}

// ShownSchedule is one of them. Error: ErrUnknownSchedule.
func (c *Client) ShownSchedule(ctx context.Context, name string) (*pb.Schedule, error) {
	s, err := c.GetSchedule(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.shown(ctx, s)
}

func (c *Client) shown(ctx context.Context, s Schedule) (*pb.Schedule, error) {
	m := s.Message(time.Now())
	runs, err := c.ScheduleRuns(ctx, s.Name, 1)
	if len(runs) > 0 {
		m.Last = runs[0]
	}
	return m, err
}

// ScheduleRuns lists the records of a schedule's ticks, the newest first: also of
// those that have no run.
func (c *Client) ScheduleRuns(ctx context.Context, name string, limit int) ([]*pb.Run, error) {
	reply, err := c.ScheduleHistory(ctx, name, limit, "")
	return reply.GetRuns(), err
}

// ScheduleHistory is a page of them; next is from the reply before. It needs no
// runner.
func (c *Client) ScheduleHistory(ctx context.Context, name string, limit int, next string) (*pb.QueryReply, error) {
	q := schedule.History(name, limit)
	q.Next = next
	reply, err := c.Query(ctx, q)
	if errors.Is(err, ErrNoRunners) {
		return c.QueryRecords(ctx, q)
	}
	return reply, err
}
