package schedule_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
)

func TestNextTicks(t *testing.T) {
	now := at(t, "2026-11-26T12:00:00Z")
	time1 := func(text string) *time.Time { v := at(t, text); return &v }
	for _, c := range []struct {
		what string
		spec schedule.Spec
		want []string
		over bool
	}{
		{"a pattern", schedule.Spec{Cron: "0 3 * * *"}, []string{"2026-11-27T03:00:00Z", "2026-11-28T03:00:00Z"}, false},
		{"in its zone", schedule.Spec{Cron: "0 3 * * *", Zone: "Europe/Berlin"}, []string{"2026-11-27T02:00:00Z", "2026-11-28T02:00:00Z"}, false},
		{"an interval from its beginning", schedule.Spec{Every: "1h", Since: at(t, "2026-11-26T09:30:00Z")}, []string{"2026-11-26T12:30:00Z", "2026-11-26T13:30:00Z"}, false},
		{"an interval that has not begun", schedule.Spec{Every: "1h", Since: at(t, "2026-11-26T12:00:00Z"), From: time1("2026-11-27T00:30:00Z")}, []string{"2026-11-27T01:00:00Z", "2026-11-27T02:00:00Z"}, false},
		{"another client's interval", schedule.Spec{Every: "1h"}, nil, false},
		{"once", schedule.Spec{At: time1("2026-11-26T18:00:00Z")}, []string{"2026-11-26T18:00:00Z"}, false},
		{"once, and over", schedule.Spec{At: time1("2026-11-26T06:00:00Z")}, nil, true},
		{"not before", schedule.Spec{Cron: "0 3 * * *", From: time1("2026-12-24T00:00:00Z")}, []string{"2026-12-24T03:00:00Z", "2026-12-25T03:00:00Z"}, false},
		{"at its bound", schedule.Spec{Cron: "0 3 * * *", Until: time1("2026-11-27T03:00:00Z")}, []string{"2026-11-27T03:00:00Z"}, false},
		{"no tick before its bound", schedule.Spec{Cron: "0 3 * * *", Until: time1("2026-11-27T02:00:00Z")}, nil, true},
		{"its bound is over", schedule.Spec{Every: "1h", Since: at(t, "2026-11-26T09:30:00Z"), Until: time1("2026-11-26T11:00:00Z")}, nil, true},
		{"paused", schedule.Spec{Cron: "0 3 * * *", Paused: &schedule.Pause{}}, nil, false},
		{"the repeated hour once", schedule.Spec{Cron: "30 2 25 10 *", Zone: "Europe/Berlin", From: time1("2027-10-01T00:00:00Z")}, []string{"2027-10-25T00:30:00Z", "2028-10-25T00:30:00Z"}, false},
	} {
		s := schedule.Schedule{Name: "s", Spec: c.spec}
		next := s.Next(now, 2)
		for i, tick := range next {
			if i >= len(c.want) || !tick.Equal(at(t, c.want[i])) {
				t.Errorf("%s: %v, want %v", c.what, next, c.want)
				break
			}
		}
		if len(next) != len(c.want) || s.Over(now) != c.over {
			t.Errorf("%s: %v, over %v; want %v, %v", c.what, next, s.Over(now), c.want, c.over)
		}
	}
}

// What a request says comes back in the reply.
func TestMessageAndBack(t *testing.T) {
	now := at(t, "2026-11-26T12:00:00Z")
	asked := &pb.Schedule{
		Name: "s", Cron: "0 3 * * *", Tz: "Europe/Berlin", Pool: "db", All: true, On: []string{"web1"}, Where: "cpus > 0",
		From: timestamppb.New(now), Until: timestamppb.New(now.AddDate(1, 0, 0)), Jitter: "5m", StartDeadline: "1h", Overlap: "allow",
		Task: &pb.Task{Name: "n", Argv: []string{"true"}}, Revision: 7, By: "eve",
	}
	def := schedule.FromMessage(proto.CloneOf(asked))
	if def.Rev != 7 || def.Task.GetMetadata().GetName() != "n" {
		t.Errorf("%+v", def)
	}
	def.Since = now
	def.Paused = &schedule.Pause{Since: now, By: "eve"}
	got := def.Message(now)
	if got.GetPaused().GetBy() != "eve" || !got.GetSince().AsTime().Equal(now) || len(got.GetNext()) != 0 {
		t.Errorf("%v", got)
	}
	got.Paused, got.Since = nil, nil
	if !proto.Equal(got, asked) {
		t.Errorf("got  %v\nwant %v", got, asked)
	}
	if on := schedule.FromMessage(&pb.Schedule{Name: "s", Where: "cpus > 0"}); !on.All {
		t.Error("where is for all")
	}
}
