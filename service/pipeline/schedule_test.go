package pipeline_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/timers"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// jobs are a pipeline's, the oldest first.
func (w *world) jobs(pipeline string) []*pb.Job {
	w.t.Helper()
	var all []*pb.Job
	for job, err := range w.c.Jobs(w.ctx(), client.JobsOptions{Pipeline: pipeline, Page: 1000}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, job)
	}
	slices.Reverse(all)
	return all
}

// untilJobs waits until a pipeline has so many jobs that satisfy a condition.
func (w *world) untilJobs(pipeline, what string, n int, is func(*pb.Job) bool) []*pb.Job {
	w.t.Helper()
	var found []*pb.Job
	rig.EventuallyIn(w.t, time.Minute, pipeline+": "+what, func() bool {
		found = slices.DeleteFunc(w.jobs(pipeline), func(j *pb.Job) bool { return !is(j) })
		return len(found) >= n
	})
	return found
}

func (w *world) schedules() []client.Schedule {
	w.t.Helper()
	all, err := w.c.Schedules(w.ctx())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func canceled(j *pb.Job) bool { return j.GetCompleted() && j.GetCanceled() }

func completed(j *pb.Job) bool { return j.GetCompleted() && !j.GetCanceled() && !j.GetErrored() }

// Each tick starts one job with the entry's variables, whichever engine takes it,
// until the pipeline is removed.
func TestScheduleStartsJobs(t *testing.T) {
	t.Parallel()
	w := open(t, `
pipelines:
  beat:
    schedule:
      - {every: 1s, variables: {n: 12345678901234567890, part: 1.50}, overlap: allow}
    tasks: {a: {script: ['echo "{{ .n }} {{ .part }}"']}}
`)
	name := timers.Name("beat", 0)
	first := w.untilJobs("beat", "two jobs have ended", 2, completed)
	if got := w.log(first[0], "a"); got != "12345678901234567890 1.5\n" {
		t.Errorf("log %q", got)
	}
	w.engine.Close()
	w.engine = w.start("e2")
	after := w.untilJobs("beat", "jobs of the next engine", len(first)+3, completed)
	for i, job := range after {
		// The tick is not later than its job, and no tick has two.
		tick := job.GetCreated().AsTime().Truncate(time.Second)
		for job.GetId() != timers.JobID(name, tick) && time.Since(tick) < 10*time.Minute {
			tick = tick.Add(-time.Second)
		}
		if job.GetId() != timers.JobID(name, tick) || job.GetUser() != "schedule" {
			t.Fatalf("job %d of %s is of no tick of %s: %s", i, job.GetUser(), name, show(job))
		}
	}
	all := w.schedules()
	if len(all) != 1 || all[0].Name != name || all[0].Pipeline != "beat" || all[0].Every != "1s" || all[0].Overlap != schedule.Allow {
		t.Fatalf("schedules %+v", all)
	}
	if _, err := w.c.FireSchedule(w.ctx(), name); err == nil || !strings.Contains(err.Error(), `a pipeline's definition has it: pipeline "beat"`) {
		t.Errorf("run now: %v", err)
	}
	if err := w.c.RemoveSchedule(w.ctx(), name); err == nil || !strings.Contains(err.Error(), `a pipeline's definition has it: pipeline "beat"`) {
		t.Errorf("rm: %v", err)
	}
	if err := w.c.RemovePipeline(w.ctx(), "beat"); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the schedule is gone", func() bool { return len(w.schedules()) == 0 })
}

// What becomes of a tick while the last job has not ended, and where the queue
// takes no more.
func TestScheduleOverlap(t *testing.T) {
	t.Parallel()
	w := open(t, `
pipelines:
  skip: {schedule: [{every: 1s}], tasks: {a: {script: [sleep 1000]}}}
  replace: {schedule: [{every: 1s, overlap: replace}], tasks: {a: {script: [sleep 1000]}}}
  allow: {schedule: [{every: 1s, overlap: allow}], tasks: {a: {script: [sleep 1000]}}}
  full: {queue_limit: 0, schedule: [{every: 1s, overlap: allow, variables: {x: 1}}], tasks: {a: {script: [sleep 1000]}}}
`)
	skipped := w.untilJobs("skip", "two ticks are skipped", 2, canceled)
	one := w.jobs("skip")[0]
	for _, job := range skipped {
		if job.GetReason() != "skipped: "+one.GetId()+" has not ended" || job.GetUser() != "schedule" || job.GetEnd() == nil || show(job) != "canceled: a=canceled/0" {
			t.Errorf("a skipped tick: %s, %q by %q", show(job), job.GetReason(), job.GetUser())
		}
	}
	if one.GetCompleted() {
		t.Errorf("the first one: %s", show(one))
	}
	for _, job := range w.untilJobs("replace", "two are replaced", 2, canceled) {
		if job.GetCanceledBy() != "schedule" || job.GetReason() != "replaced by the schedule's next job" || show(job) != "canceled: a=canceled/130" {
			t.Errorf("a replaced job: %s by %q, %q", show(job), job.GetCanceledBy(), job.GetReason())
		}
	}
	w.untilJobs("allow", "two wait", 2, func(j *pb.Job) bool { return j.GetStart() == nil && !j.GetCompleted() })
	refused := w.untilJobs("full", "two are refused", 2, canceled)
	if got := refused[0]; got.GetReason() != "concurrency exceeded and queueing disabled for pipeline" || got.GetVariablesJson() != `{"x":1}` {
		t.Errorf("a refused tick: %s, %q, %s", show(got), got.GetReason(), got.GetVariablesJson())
	}
	// One that had no job can be run all the same.
	w.apply("pipelines: {full: {tasks: {}}}")
	if _, err := w.c.Cancel(w.ctx(), w.jobs("full")[0].GetId(), client.CancelOptions{}); err != nil {
		t.Fatal(err)
	}
	w.end(w.jobs("full")[0].GetId())
	again, err := w.c.Rerun(w.ctx(), refused[0].GetId(), client.RerunOptions{})
	if err != nil || again.GetVariablesJson() != `{"x":1}` {
		t.Errorf("run again: %v, %v", again, err)
	}
}

// A schedule follows its pipeline's definition; what has not changed stays as it
// is, also paused; what another engine left behind is put right.
func TestScheduleFollowsTheDefinition(t *testing.T) {
	t.Parallel()
	const two = "pipelines: {'a pipeline/of ours': {schedule: [{cron: '0 3 * * *', tz: Europe/Berlin}, {every: 1h}]}}"
	w := open(t, two)
	names := []string{timers.Name("a pipeline/of ours", 0), timers.Name("a pipeline/of ours", 1)}
	revisions := func() (all []uint64) {
		for i, s := range w.schedules() {
			if s.Name != names[i] {
				t.Fatalf("schedule %s, want %s", s.Name, names[i])
			}
			all = append(all, s.Rev)
		}
		return all
	}
	before := revisions()
	if len(before) != 2 || !strings.HasPrefix(names[0], "a-pipeline-of-ou-") {
		t.Fatalf("schedules %v at %v", names, before)
	}
	if _, err := w.c.PauseSchedule(w.ctx(), names[0], "me"); err != nil {
		t.Fatal(err)
	}
	w.apply("pipelines: {'a pipeline/of ours': {schedule: [{cron: '0 3 * * *', tz: Europe/Berlin, variables: {x: 1}}, {every: 2h}]}}")
	all := w.schedules()
	if len(all) != 2 || all[0].Paused == nil || all[1].Every != "2h0m0s" || all[1].Rev == before[1] {
		t.Errorf("after a change: %+v", all)
	}
	w.engine.Close()
	w.engine = w.start("e2")
	w.apply("pipelines: {'a pipeline/of ours': {schedule: [{cron: '0 3 * * *', tz: Europe/Berlin}]}}")
	if all = w.schedules(); len(all) != 1 || all[0].Name != names[0] || all[0].Paused == nil {
		t.Errorf("after one is gone: %+v", all)
	}
	w.apply(two) // at once: its place still has what the removal left
	if all = w.schedules(); len(all) != 2 || all[1].Every != "1h0m0s" {
		t.Errorf("after it is back: %+v", all)
	}
	// Removed while no engine could do it: the next one does.
	w.engine.Close()
	js := rig.JetStream(t, rig.Connect(t, w.server))
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	store := schedule.New(schedule.Config{JS: js, Space: space, ServerTime: func(context.Context) (time.Time, error) { return time.Now(), nil }})
	orphan := schedule.Schedule{Name: "orphan", Spec: schedule.Spec{Every: "1h", Pipeline: "nobody"}}
	if _, err := store.Put(w.ctx(), orphan, 0); err != nil {
		t.Fatal(err)
	}
	if err := store.Withdraw(w.ctx(), names[0]); err != nil {
		t.Fatal(err)
	}
	w.engine = w.start("e3")
	rig.Eventually(t, "the schedules are right again", func() bool {
		all := w.schedules()
		return len(all) == 2 && all[0].Name == names[0] && all[1].Name == names[1]
	})
}
