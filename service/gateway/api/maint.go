package api

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

type clockIn struct {
	Named
	Body asked[*pb.ClockQuery]
}

type clocksIn struct {
	Body struct {
		Target target                 `json:"target,omitempty"`
		Clock  *asked[*pb.ClockQuery] `json:"clock,omitempty" doc:"without a time: against the gateway's clock"`
	}
}

type clock struct {
	Runner      string                   `json:"runner"`
	Offset      float64                  `json:"offset" doc:"milliseconds, positive: the host is behind"`
	Uncertainty float64                  `json:"uncertainty" doc:"milliseconds"`
	Dangerous   bool                     `json:"dangerous" doc:"more than 5 s either way"`
	Reply       *message[*pb.MaintReply] `json:"reply,omitempty"`
	Error       string                   `json:"error,omitempty"`
}

type clocks struct {
	FanLists
	Clocks []clock `json:"clocks" doc:"the largest difference first"`
}

func (s *server) describeMaint(d *desk) {
	add(d, row{"clock", "POST", "/api/v1/runners/{name}/maint/clock", auth.ScopeAdmin, "Compare a host's clock, and set it if asked", 0},
		func(ctx context.Context, in *clockIn) (*answer[clock], error) {
			if _, err := s.runner(ctx, in.Name); err != nil {
				return nil, err
			}
			r, c, err := s.Client.Clock(ctx, client.Target{On: in.Name}, in.Body.is)
			if err != nil && r.GetClock() == nil {
				return nil, err
			}
			s.audit(ctx, "a clock was asked about over HTTP", "runner", in.Name, "sync", in.Body.is.GetSync())
			c.Reply, c.Err, c.Runner = r, err, in.Name
			return &answer[clock]{clockOf(c)}, nil
		})
	add(d, row{"clocks", "POST", "/api/v1/maint/clock", auth.ScopeAdmin, "Compare the clocks of every runner that is meant", 0}, s.clocks)
}

func (s *server) clocks(ctx context.Context, in *clocksIn) (*answer[clocks], error) {
	t := in.Body.Target.is()
	t.All = t.On == ""
	if err := checkTarget(t); err != nil {
		return nil, err
	}
	q := &pb.ClockQuery{}
	if in.Body.Clock != nil {
		q = in.Body.Clock.is
	}
	result, all, err := s.Client.ClockAll(ctx, t, q, client.FanOptions{})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "clocks were asked about over HTTP", "runners", len(all), "sync", q.GetSync())
	out := clocks{FanLists: listsOf(result.FanLists), Clocks: []clock{}}
	for _, c := range all {
		out.Clocks = append(out.Clocks, clockOf(c))
	}
	return &answer[clocks]{out}, nil
}

func clockOf(c client.Clock) clock {
	out := clock{Runner: c.Runner, Offset: c.Offset, Uncertainty: c.Uncertainty, Dangerous: c.Dangerous()}
	if c.Reply != nil {
		out.Reply = &message[*pb.MaintReply]{c.Reply}
	}
	if c.Err != nil {
		out.Error = wordsOf(c.Err)
	}
	return out
}

// audit says in the log who did what.
func (s *server) audit(ctx context.Context, what string, args ...any) {
	s.Log.Info(what, append(args, "sub", auth.CallerOf(ctx).Sub)...)
}
