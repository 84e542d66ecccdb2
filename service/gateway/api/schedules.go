package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

type schedules struct {
	Schedules []message[*pb.Schedule] `json:"schedules" doc:"by name"`
}

// ScheduleIn is a schedule in a path.
type ScheduleIn struct {
	Name string `path:"name" doc:"the schedule's name"`
}

type scheduleAddIn struct {
	Body asked[*pb.Schedule]
}

type scheduleChangeIn struct {
	ScheduleIn
	Body asked[*pb.Schedule]
}

type scheduleOut struct {
	Location string `header:"Location"`
	Body     message[*pb.Schedule]
}

type historyIn struct {
	ScheduleIn
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Next  string `query:"next" doc:"from the reply before"`
}

type firedNow struct {
	ID string `json:"id" doc:"of the work or, with all, of the group of runs"`
}

func (s *server) describeSchedules(d *desk) {
	add(d, row{"list-schedules", "GET", "/api/v1/schedules", auth.ScopeRead, "The schedules, their next ticks, and how the last one went", 0},
		func(ctx context.Context, _ *struct{}) (*answer[schedules], error) {
			all, err := s.Client.ShownSchedules(ctx)
			return &answer[schedules]{schedules{messages(all)}}, err
		})
	add(d, row{"add-schedule", "POST", "/api/v1/schedules", auth.ScopeRun, "Have a task run at its times", http.StatusCreated},
		func(ctx context.Context, in *scheduleAddIn) (*scheduleOut, error) {
			def := in.definition(ctx)
			def.Rev = 0
			stored, err := s.Client.PutSchedule(ctx, def)
			if err != nil {
				return nil, err
			}
			s.audit(ctx, "a schedule was added over HTTP", "schedule", stored.Name)
			return &scheduleOut{"/api/v1/schedules/" + url.PathEscape(stored.Name), message[*pb.Schedule]{stored.Message(time.Now())}}, nil
		})
	add(d, row{"show-schedule", "GET", "/api/v1/schedules/{name}", auth.ScopeRead, "A schedule", 0},
		func(ctx context.Context, in *ScheduleIn) (*answer[message[*pb.Schedule]], error) {
			one, err := s.Client.ShownSchedule(ctx, in.Name)
			return &answer[message[*pb.Schedule]]{message[*pb.Schedule]{one}}, err
		})
	add(d, row{"change-schedule", "PUT", "/api/v1/schedules/{name}", auth.ScopeRun, "Store a schedule over another, which keeps its pause", 0}, s.changeSchedule)
	add(d, row{"remove-schedule", "DELETE", "/api/v1/schedules/{name}", auth.ScopeRun, "Remove a schedule; what it has started goes on", http.StatusNoContent},
		func(ctx context.Context, in *ScheduleIn) (*struct{}, error) {
			err := s.Client.RemoveSchedule(ctx, in.Name)
			if err == nil {
				s.audit(ctx, "a schedule was removed over HTTP", "schedule", in.Name)
			}
			return nil, err
		})
	s.describeUse(d)
}

// describeUse has the routes that leave a schedule's definition as it is.
func (s *server) describeUse(d *desk) {
	add(d, row{"check-schedule", "POST", "/api/v1/schedules/{name}/check", auth.ScopeRead, "Say when a schedule would be due, or what is wrong with it. Nothing is stored", 0}, s.checkSchedule)
	add(d, row{"pause-schedule", "POST", "/api/v1/schedules/{name}/pause", auth.ScopeRun, "Let a schedule pass its ticks", 0},
		func(ctx context.Context, in *ScheduleIn) (*answer[message[*pb.Schedule]], error) {
			def, err := s.Client.PauseSchedule(ctx, in.Name, auth.CallerOf(ctx).Sub)
			return s.changedSchedule(ctx, "a schedule was paused over HTTP", def, err)
		})
	add(d, row{"resume-schedule", "POST", "/api/v1/schedules/{name}/resume", auth.ScopeRun, "End a pause; its ticks are not made up for", 0},
		func(ctx context.Context, in *ScheduleIn) (*answer[message[*pb.Schedule]], error) {
			def, err := s.Client.ResumeSchedule(ctx, in.Name)
			return s.changedSchedule(ctx, "a schedule was resumed over HTTP", def, err)
		})
	add(d, row{"fire-schedule", "POST", "/api/v1/schedules/{name}/run", auth.ScopeRun, "Have a schedule's task run now, beside its ticks", http.StatusAccepted},
		func(ctx context.Context, in *ScheduleIn) (*answer[firedNow], error) {
			id, err := s.Client.FireSchedule(ctx, in.Name)
			if err == nil {
				s.audit(ctx, "a schedule was run over HTTP", "schedule", in.Name, "id", id)
			}
			return &answer[firedNow]{firedNow{id}}, err
		})
	add(d, row{"schedule-history", "GET", "/api/v1/schedules/{name}/history", auth.ScopeRead, "What became of a schedule's ticks, newest first", 0},
		func(ctx context.Context, in *historyIn) (*answer[runs], error) {
			reply, err := s.Client.ScheduleHistory(ctx, in.Name, in.Limit, in.Next)
			if err == nil && len(reply.GetRuns()) == 0 {
				_, err = s.Client.GetSchedule(ctx, in.Name)
			}
			out := runs{Runs: []run{}, Next: reply.GetNext()}
			for _, r := range reply.GetRuns() {
				out.Runs = append(out.Runs, run{is: r})
			}
			return &answer[runs]{out}, err
		})
}

// definition is what the caller asks for, in his name.
func (in *scheduleAddIn) definition(ctx context.Context) client.Schedule {
	who := auth.CallerOf(ctx)
	m := in.Body.is
	claim(m.GetTask(), who)
	m.By = who.Sub
	return client.ScheduleOf(m)
}

func (s *server) checkSchedule(ctx context.Context, in *scheduleChangeIn) (*answer[message[*pb.Schedule]], error) {
	now := time.Now()
	in.Body.is.Name = in.Name
	def := (&scheduleAddIn{in.Body}).definition(ctx)
	def.Since = now
	if err := def.Check(now); err != nil {
		return nil, err
	}
	return &answer[message[*pb.Schedule]]{message[*pb.Schedule]{def.Message(now)}}, nil
}

func (s *server) changeSchedule(ctx context.Context, in *scheduleChangeIn) (*answer[message[*pb.Schedule]], error) {
	m := in.Body.is
	if m.GetName() != "" && m.GetName() != in.Name {
		return nil, problem(http.StatusBadRequest, "name: it is %q in the path", in.Name)
	}
	m.Name = in.Name
	def, err := s.Client.ChangeSchedule(ctx, (&scheduleAddIn{in.Body}).definition(ctx))
	return s.changedSchedule(ctx, "a schedule was changed over HTTP", def, err)
}

func (s *server) changedSchedule(ctx context.Context, what string, def client.Schedule, err error) (*answer[message[*pb.Schedule]], error) {
	if err != nil {
		return nil, err
	}
	s.audit(ctx, what, "schedule", def.Name)
	return &answer[message[*pb.Schedule]]{message[*pb.Schedule]{def.Message(time.Now())}}, nil
}
