package service

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/work"
	"github.com/runnel-io/runnel/subjects"
)

// defaultPage is how many schedules, or records of one, are listed unless told
// otherwise.
const defaultPage = 100

// schedule answers what is asked about schedules, as the client's library does by
// itself: any runner can.
func (s *Service) schedule(ctx context.Context, r *endpoint.Request, req *pb.ScheduleRequest) (*pb.ScheduleReply, error) {
	a := req.GetSpec().GetSchedule()
	reply := &pb.ScheduleReply{Service: s.status()}
	var (
		one schedule.Schedule
		err error
	)
	switch {
	case a.List != nil:
		reply.Schedules, reply.Next, err = s.listSchedules(ctx, a.List)
		return reply, err
	case a.History != nil:
		err = s.scheduleHistory(ctx, a.History, reply)
		return reply, err
	case a.Show != nil:
		one, err = s.waiting.schedules.Get(ctx, a.Show.GetName())
	case a.Add != nil:
		one, err = s.putSchedule(ctx, r, a.Add, func(def schedule.Schedule) (schedule.Schedule, error) { return s.waiting.schedules.Put(ctx, def, 0) })
	case a.Change != nil:
		one, err = s.putSchedule(ctx, r, a.Change, func(def schedule.Schedule) (schedule.Schedule, error) {
			return s.waiting.schedules.Change(ctx, def, def.Rev)
		})
	case a.Remove != nil:
		one, err = s.removeSchedule(ctx, a.Remove.GetName())
	case a.Pause != nil:
		one, err = s.waiting.schedules.SetPaused(ctx, a.Pause.GetName(), true, who(r, a.Pause.GetUser()))
	case a.Resume != nil:
		one, err = s.waiting.schedules.SetPaused(ctx, a.Resume.GetName(), false, "")
	case a.Run != nil:
		one, reply.Id, err = s.runSchedule(ctx, a.Run.GetName())
	}
	if err != nil {
		return nil, err
	}
	m := one.Message(time.Now())
	if a.Show != nil {
		m.Last, err = s.lastOf(ctx, one.Name)
	}
	reply.Schedules = []*pb.Schedule{m}
	return reply, err
}

// who is who asks, as the request or its header claims.
func who(r *endpoint.Request, claimed string) string {
	if claimed == "" {
		return subjects.User(r.Header(subjects.HeaderUser))
	}
	return claimed
}

func (s *Service) listSchedules(ctx context.Context, list *pb.ListSchedules) (page []*pb.Schedule, next string, err error) {
	all, err := s.waiting.schedules.List(ctx)
	if err != nil {
		return nil, "", err
	}
	from, _ := slices.BinarySearchFunc(all, list.GetNext(), func(one schedule.Schedule, name string) int { return strings.Compare(one.Name, name) })
	limit := int(list.GetLimit())
	if limit == 0 {
		limit = defaultPage
	}
	now := time.Now()
	for _, one := range all[from:] {
		if len(page) == limit {
			return page, one.Name, nil
		}
		m := one.Message(now)
		if m.Last, err = s.lastOf(ctx, one.Name); err != nil {
			return nil, "", err
		}
		page = append(page, m)
	}
	return page, "", nil
}

// lastOf is the newest record of a schedule's ticks; nil if there is none.
func (s *Service) lastOf(ctx context.Context, name string) (*pb.Run, error) {
	found, err := s.store.Query(ctx, schedule.History(name, 1))
	if err != nil || len(found.GetRuns()) == 0 {
		return nil, err
	}
	return found.GetRuns()[0], nil
}

func (s *Service) scheduleHistory(ctx context.Context, h *pb.ScheduleHistory, into *pb.ScheduleReply) error {
	q := schedule.History(h.GetName(), int(h.GetLimit()))
	q.Next = h.GetNext()
	found, err := s.store.Query(ctx, q)
	if err == nil && len(found.GetRuns()) == 0 {
		_, err = s.waiting.schedules.Get(ctx, h.GetName())
	}
	into.Runs, into.Next = found.GetRuns(), found.GetNext()
	return err
}

// putSchedule stores one, whose ticks become work unless it is for all.
func (s *Service) putSchedule(ctx context.Context, r *endpoint.Request, m *pb.Schedule, put func(schedule.Schedule) (schedule.Schedule, error)) (schedule.Schedule, error) {
	def := schedule.FromMessage(m)
	def.By = who(r, def.By)
	if err := schedule.CheckServer(s.conns.nc); err != nil {
		return def, err
	}
	if !def.All {
		if err := s.haveQueue(ctx, def.PoolOrDefault()); err != nil {
			return def, err
		}
	}
	return put(def)
}

// haveQueue makes the queue where there is none, and tells a pool of it.
func (s *Service) haveQueue(ctx context.Context, pool string) error {
	made, err := s.waiting.work.Ensure(ctx)
	if made {
		_ = s.conns.nc.Publish(s.space.QueueTell(pool), nil) // else they look by themselves, in their time
	}
	return err
}

func (s *Service) removeSchedule(ctx context.Context, name string) (schedule.Schedule, error) {
	one, err := s.waiting.schedules.Get(ctx, name)
	switch {
	case err != nil:
		return one, err
	case one.Pipeline != "":
		return one, one.Owned("remove")
	}
	return one, s.waiting.schedules.Remove(ctx, name)
}

// runSchedule has a schedule's task run now, beside its ticks.
func (s *Service) runSchedule(ctx context.Context, name string) (one schedule.Schedule, id string, err error) {
	if one, err = s.waiting.schedules.Get(ctx, name); err != nil {
		return one, "", err
	}
	switch {
	case one.Pipeline != "":
		return one, "", one.Owned("run")
	case one.All:
		id, err = s.waiting.schedules.FireNow(ctx, one)
		return one, id, err
	}
	if err := s.haveQueue(ctx, one.PoolOrDefault()); err != nil {
		return one, "", err
	}
	id = schedule.NowID(name, time.Now())
	_, err = s.waiting.work.Put(ctx, work.Item{Pool: one.PoolOrDefault(), Request: one.Request(id)})
	return one, id, err
}
