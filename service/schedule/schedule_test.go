package schedule_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/schedule"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func task(argv ...string) *pb.TaskRequest {
	return &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv}}}
}

func TestMissedSince(t *testing.T) {
	for _, c := range []struct {
		what              string
		spec              schedule.Spec
		since, last, tick string
		count             int
		from, to          string
	}{
		{"nothing between", schedule.Spec{Every: "10s"}, "2026-11-26T00:00:00Z", "2026-11-26T12:00:00Z", "2026-11-26T12:00:10Z", 0, "", ""},
		{"five of an interval", schedule.Spec{Every: "10s"}, "2026-11-26T00:00:00Z", "2026-11-26T12:00:00Z", "2026-11-26T12:01:00Z", 5, "2026-11-26T12:00:10Z", "2026-11-26T12:00:59Z"},
		{"its first tick", schedule.Spec{Cron: "0 * * * *"}, "2026-11-26T12:30:00Z", "", "2026-11-26T13:00:00Z", 0, "", ""},
		{"its first one was missed", schedule.Spec{Cron: "0 * * * *"}, "2026-11-26T12:30:00Z", "", "2026-11-26T14:00:00Z", 1, "2026-11-26T13:00:00Z", "2026-11-26T13:00:00Z"},
		{"since a resume", schedule.Spec{Cron: "0 * * * *"}, "2026-11-26T12:30:00Z", "2026-11-26T06:00:00Z", "2026-11-26T13:00:00Z", 0, "", ""},
		{"the skipped hour counts", schedule.Spec{Cron: "30 2 * * *", Zone: "Europe/Berlin"}, "2027-03-01T00:00:00Z", "2027-03-27T01:30:00Z", "2027-03-29T00:30:00Z", 1, "2027-03-28T01:00:00Z", "2027-03-28T01:00:00Z"},
		{"the repeated hour does not", schedule.Spec{Cron: "30 2 * * *", Zone: "Europe/Berlin"}, "2026-10-01T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", 0, "", ""},
		{"a foreign one's first", schedule.Spec{Every: "10s"}, "", "", "2026-11-26T12:01:00Z", 0, "", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			f := schedule.Fire{Schedule: schedule.Schedule{Name: "s", Spec: c.spec}, Tick: at(t, c.tick)}
			var last time.Time
			if c.since != "" {
				f.Since = at(t, c.since)
			}
			if c.last != "" {
				last = at(t, c.last)
			}
			m := f.MissedSince(last)
			if m.Count != c.count {
				t.Fatalf("%d, want %d", m.Count, c.count)
			}
			if c.count > 0 && (!m.From.Equal(at(t, c.from)) || !m.To.Equal(at(t, c.to))) {
				t.Errorf("from %s to %s, want %s to %s", m.From, m.To, c.from, c.to)
			}
		})
	}
}

func TestMissedOutsideTheBounds(t *testing.T) {
	from, until := at(t, "2026-11-26T10:00:00Z"), at(t, "2026-11-26T12:00:00Z")
	f := schedule.Fire{Tick: at(t, "2026-11-26T12:00:00Z"), Schedule: schedule.Schedule{Name: "s", Spec: schedule.Spec{
		Cron: "0 * * * *", Since: at(t, "2026-11-26T07:30:00Z"), From: &from, Until: &until,
	}}}
	if m := f.MissedSince(time.Time{}); m.Count != 2 || !m.From.Equal(from) {
		t.Errorf("%+v, want the two from %s on", m, from)
	}
}

func TestNamesLeaveRoomForTheTick(t *testing.T) {
	longest := strings.Repeat("x", 31)
	if err := schedule.CheckName(longest); err != nil {
		t.Error(err)
	}
	id := schedule.TickID(longest, at(t, "2026-10-25T02:30:00+02:00"))
	if id != longest+"-20261025T003000Z" {
		t.Errorf("the id is %s", id)
	}
	if err := pb.CheckQueueID(id); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", longest + "x", "a.b", "a b", "-a", "_a", "a/b", "*", ">", "ü"} {
		var invalid *pb.InvalidError
		if err := schedule.CheckName(name); !errors.As(err, &invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTickHasItsOwnTask(t *testing.T) {
	s := schedule.Schedule{Name: "nightly", Task: task("true")}
	s.Task.Spec.Task.Tags = map[string]string{"team": "db"}
	req := s.Request("nightly-1")
	if got := req.GetSpec().GetTask().GetTags(); got["schedule"] != "nightly" || got["team"] != "db" || req.GetMetadata().GetId() != "nightly-1" {
		t.Errorf("%v", req)
	}
	if s.Task.GetMetadata() != nil || len(s.Task.Spec.Task.Tags) != 1 {
		t.Errorf("the schedule's own task has changed: %v", s.Task)
	}
}

func TestTasksThatNoScheduleTakes(t *testing.T) {
	now := at(t, "2026-11-26T12:00:00Z")
	named := task("true")
	named.Metadata = &pb.Metadata{Id: "x"}
	tagged := task("true")
	tagged.Spec.Task.Tags = map[string]string{}
	for i := range 32 {
		tagged.Spec.Task.Tags[strings.Repeat("t", i+1)] = ""
	}
	delayed := task("true")
	delayed.Spec.Task.Delay = "5s"
	for want, s := range map[string]schedule.Schedule{
		"names its runs": {Task: named},
		"of at most 31":  {Task: tagged},
		"for one runner": {Task: delayed, Spec: schedule.Spec{All: true}},
		"spec.task":      {Task: &pb.TaskRequest{Kind: pb.Kind}},
	} {
		s.Name, s.Every = "s", "5m"
		if err := s.Check(now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one with %q", err, want)
		}
	}
	if err := (schedule.Schedule{Name: "s", Spec: schedule.Spec{Every: "5m"}, Task: delayed}).Check(now); err != nil {
		t.Errorf("a delayed task on one runner: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		spec     schedule.Spec
		pool     string
		deadline time.Duration
	}{
		{schedule.Spec{}, "default", 24 * time.Hour},
		{schedule.Spec{All: true}, "_all", 10 * time.Minute},
		{schedule.Spec{All: true, Pool: "web", StartDeadline: "90s"}, "web", 90 * time.Second},
	} {
		if got := c.spec.PoolOrDefault(); got != c.pool {
			t.Errorf("pool %q, want %q", got, c.pool)
		}
		if got := c.spec.Deadline(); got != c.deadline {
			t.Errorf("deadline %s, want %s", got, c.deadline)
		}
		if c.spec.OverlapOrDefault() != schedule.Skip {
			t.Errorf("overlap %q", c.spec.OverlapOrDefault())
		}
	}
}
