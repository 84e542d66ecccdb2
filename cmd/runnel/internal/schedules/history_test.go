package schedules

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/timers"
	"github.com/runnel-io/runnel/service/schedule"
)

// A job is of the schedule whose tick its id is made of, also while that is paused; one
// that is of none is anybody's.
func TestWhichScheduleStartedAJob(t *testing.T) {
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	all := []client.Schedule{
		{Name: "p-1", Spec: schedule.Spec{Every: "2s", Since: noon.Add(-time.Hour), Paused: &schedule.Pause{}}},
		{Name: "p-2", Spec: schedule.Spec{Cron: "0 12 * * *"}},
		{Name: "p-3", Spec: schedule.Spec{Cron: "0 13 * * *", Zone: "Europe/Berlin"}},
	}
	for _, c := range []struct {
		name    string
		tick    time.Time
		created time.Duration // after it
		want    string
	}{
		{"p-1", noon, time.Millisecond, "p-1"},
		{"p-1", noon.Add(2 * time.Second), time.Minute, "p-1"},
		{"p-2", noon, 0, "p-2"},
		{"p-3", noon, 5 * time.Minute, "p-3"},
		{"p-3", noon, time.Hour, ""},
		{"p-1", noon.Add(time.Second), time.Second, ""},
		{"other", noon, time.Second, ""},
	} {
		job := &pb.Job{Id: timers.JobID(c.name, c.tick), Created: timestamppb.New(c.tick.Add(c.created))}
		if got := startedBy(job, all); got != c.want {
			t.Errorf("%s at %s, %s later: %q, want %q", c.name, c.tick, c.created, got, c.want)
		}
	}
}

func TestHowJobsOfTicksWent(t *testing.T) {
	for _, c := range []struct {
		job         *pb.Job
		state, note string
	}{
		{&pb.Job{}, "running", ""},
		{&pb.Job{Completed: true}, "ok", ""},
		{&pb.Job{Completed: true, Errored: true, LastError: "task a: exit status 1"}, "errored", "task a: exit status 1"},
		{&pb.Job{Completed: true, Canceled: true, Reason: "replaced by the schedule's next job"}, "canceled", "replaced by the schedule's next job"},
		{&pb.Job{Completed: true, Canceled: true, Errored: true, LastError: "x", Reason: "y"}, "errored", "y"},
	} {
		if got := jobOutcome(c.job).Text; got != c.state || noteOf(c.job) != c.note {
			t.Errorf("%v: %s, %q", c.job, got, noteOf(c.job))
		}
	}
}
