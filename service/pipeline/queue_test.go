package pipeline_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// try schedules a job, which may be refused.
func (w *world) try(pipeline, partition string, vars map[string]any) (*pb.Job, error) {
	w.t.Helper()
	return w.c.Schedule(w.ctx(), pipeline, client.ScheduleOptions{Variables: vars, User: "me", Partition: partition})
}

// state is a job's state in a word.
func (w *world) state(id string) string {
	w.t.Helper()
	job, err := w.c.Job(w.ctx(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	state, _, _ := strings.Cut(show(job), ":")
	return state
}

// What becomes of jobs that come while another one runs, by the pipeline's keys.
// Each job's name is the partition it is in and a number.
func TestWaitLists(t *testing.T) {
	for _, c := range []struct{ name, keys, jobs, want, refused string }{
		{"any number", "", "a1 a2 a3 a4", "running waiting waiting waiting", ""},
		{"two at a time", "concurrency: 2", "a1 a2 a3", "running running waiting", ""},
		{"zero is one", "concurrency: 0", "a1 a2", "running waiting", ""},
		{"nobody waits", "queue_limit: 0", "a1 a2", "running refused", "concurrency exceeded and queueing disabled for pipeline"},
		{"one waits", "queue_limit: 1", "a1 a2 a3", "running waiting refused", "concurrency exceeded and queue limit reached for pipeline"},
		{"append by name", "queue_limit: 1, queue_strategy: append", "a1 a2 a3", "running waiting refused", "concurrency exceeded and queue limit reached for pipeline"},
		{"replace", "queue_limit: 1, queue_strategy: replace", "a1 a2 a3 a4", "running canceled canceled waiting", ""},
		{"replace the last of two", "queue_limit: 2, queue_strategy: replace", "a1 a2 a3 a4", "running waiting canceled waiting", ""},
		{"partitions", "queue_strategy: partitioned_replace, queue_partition_limit: 1", "a1 a2 b3 a4 b5 c6", "running canceled canceled waiting waiting waiting", ""},
		{"two of a partition", "queue_strategy: partitioned_replace, queue_partition_limit: 2", "a1 a2 a3 a4 b5", "running waiting canceled waiting waiting", ""},
		{"firm ones are waited for", "interrupt: true", "a1 a2", "running waiting", ""},
		{"firm ones are not interrupted", "interrupt: true, queue_limit: 0", "a1 a2", "running refused", "concurrency exceeded and queueing disabled for pipeline"},
		{"delayed", "start_delay: 1h", "a1 a2", "waiting waiting", ""},
		{"debounce", "start_delay: 1h, queue_limit: 1, queue_strategy: replace", "a1 a2 a3", "canceled canceled waiting", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, "pipelines: {p: {"+c.keys+strings.Repeat(", ", min(len(c.keys), 1))+"tasks: {a: {script: [sleep 1000]}}}}")
			var ids []string
			for i, job := range strings.Fields(c.jobs) {
				accepted, err := w.try("p", job[:1], nil)
				if err != nil {
					if err.Error() != c.refused || !errors.Is(err, client.ErrConflict) {
						t.Errorf("job %s: %v", job, err)
					}
					ids = append(ids, "")
					continue
				}
				ids = append(ids, accepted.GetId())
				if i == 0 && !strings.Contains(c.keys, "start_delay") {
					w.until(ids[0], "running", running("a"))
				}
			}
			rig.Eventually(t, "the jobs are as they should be", func() bool {
				var got []string
				for _, id := range ids {
					if id == "" {
						got = append(got, "refused")
					} else {
						got = append(got, w.state(id))
					}
				}
				return strings.Join(got, " ") == c.want
			})
			place := int64(0)
			for _, id := range ids { // those that wait know their places, and keep their order but for a replaced one's
				if id != "" && w.state(id) == "waiting" && !strings.Contains(c.name, "partition") {
					job, err := w.c.Job(w.ctx(), id)
					if place++; err != nil || job.GetPlace() != place {
						t.Errorf("place %d, want %d, %v", job.GetPlace(), place, err)
					}
				}
			}
			for _, id := range ids {
				if id == "" {
					continue
				}
				if _, err := w.c.Cancel(w.ctx(), id, client.CancelOptions{}); err != nil {
					t.Error(err)
				}
				if job := w.end(id); !job.GetCompleted() || job.GetEnd() == nil || !job.GetCanceled() {
					t.Errorf("not ended well: %s", show(job))
				}
			}
		})
	}
}

// Partitioned replacing keeps the place of the replaced job.
func TestPartitionKeepsPlace(t *testing.T) {
	w := open(t, "pipelines: {p: {queue_strategy: partitioned_replace, queue_partition_limit: 1, tasks: {a: {script: [sleep 1000]}}}}")
	first, _ := w.try("p", "x", nil)
	var last [2]*pb.Job
	for _, partition := range []string{"x", "y", "x"} {
		job, err := w.try("p", partition, nil)
		if err != nil {
			t.Fatal(err)
		}
		last[map[string]int{"x": 0, "y": 1}[partition]] = job
	}
	for i, job := range last {
		if got, err := w.c.Job(w.ctx(), job.GetId()); err != nil || got.GetPlace() != int64(i+1) {
			t.Errorf("place %d, want %d, %v", got.GetPlace(), i+1, err)
		}
	}
	for _, job := range last {
		if _, err := w.c.Cancel(w.ctx(), job.GetId(), client.CancelOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = w.c.Cancel(w.ctx(), first.GetId(), client.CancelOptions{})
	w.end(first.GetId())
}

// A delayed job starts when its time is over, not before, and one that is not
// delayed any more does not wait behind one that is.
func TestStartDelay(t *testing.T) {
	w := open(t, "pipelines: {p: {start_delay: 1s, tasks: {a: {script: ['true']}}}}")
	job := w.schedule("p", nil)
	if job.GetNotBefore() == nil || job.GetStart() != nil {
		t.Errorf("not before %v, start %v", job.GetNotBefore(), job.GetStart())
	}
	ended := w.end(job.GetId())
	if waited := ended.GetStart().AsTime().Sub(ended.GetCreated().AsTime()); waited < time.Second {
		t.Errorf("it waited %s", waited)
	}
	// The delay is gone from the definition: a new job starts at once.
	later := w.schedule("p", nil)
	w.apply("pipelines: {p: {tasks: {a: {script: ['true']}}}}")
	now := w.end(w.schedule("p", nil).GetId())
	if was := w.end(later.GetId()); was.GetStart().AsTime().Sub(was.GetCreated().AsTime()) < time.Second || now.GetErrored() {
		t.Errorf("the delayed one: %s, the other %s", show(was), show(now))
	}
}

// A new job where none may wait ends what runs; the newest of several goes on.
func TestInterruptUnqueued(t *testing.T) {
	w := open(t, `
pipelines:
  p: {queue_limit: 0, interrupt: true, tasks: {a: {script: ['trap "" TERM', '{{ .do }}'], interruptible: true, grace: 1s}}}
`)
	first, err := w.try("p", "", map[string]any{"do": "while :; do sleep 0.1; done"})
	if err != nil {
		t.Fatal(err)
	}
	w.runs(first.GetId() + "-1")
	second, err := w.try("p", "", map[string]any{"do": "true"})
	if err != nil {
		t.Fatal(err)
	}
	third, err := w.try("p", "", map[string]any{"do": "true"})
	if err != nil {
		t.Fatal(err)
	}
	for job, want := range map[*pb.Job]string{
		first: "canceled: a=canceled/130, interrupted by job " + second.GetId(), second: "canceled: a=canceled/0, replaced by job " + third.GetId(), third: "completed: a=done/0, ",
	} {
		if got := w.end(job.GetId()); show(got)+", "+got.GetReason() != want {
			t.Errorf("got %s, %s; want %s", show(got), got.GetReason(), want)
		}
	}
}

// Whatever a job does when it is cancelled, it ends, nothing more of it starts,
// and it says who did it and why.
func TestCancelInEveryState(t *testing.T) {
	w := open(t, `
pipelines:
  delayed: {start_delay: 1h, tasks: {a: {script: [touch "$VAR_file"]}}}
  running: {tasks: {a: {script: [sleep 1000]}, b: {script: [touch "$VAR_file"], depends_on: a}}}
  backoff: {tasks: {a: {script: ['test -e "$VAR_file.1" && touch "$VAR_file"; touch "$VAR_file.1"; exit 1'], retries: {max: 5, backoff: 1h}}, b: {script: [x], depends_on: a}}}
  norunner: {tasks: {a: {script: [touch "$VAR_file"], on: {pool: nobody}}, b: {script: [x], depends_on: a}}}
  noneofall: {tasks: {a: {script: [touch "$VAR_file"], on: {all: true, pool: nobody}}}}
  handler: {tasks: {a: {script: [exit 1]}}, on_error: {script: [sleep 1000, touch "$VAR_file"]}}
`)
	for name, c := range map[string]struct {
		when func(*pb.Job) bool
		want string
	}{
		"delayed":   {func(*pb.Job) bool { return true }, "canceled: a=canceled/0"},
		"running":   {running("a"), "canceled: a=canceled/130 b=canceled/0"},
		"backoff":   {func(j *pb.Job) bool { return j.Task("a").GetNotBefore() != nil }, "canceled: a=canceled/130 b=canceled/0"},
		"norunner":  {running("a"), "canceled: a=canceled/130 b=canceled/0"},
		"noneofall": {running("a"), "canceled: a=canceled/130"},
		"handler":   {running("on_error"), "errored: a=error/1 on_error=canceled/130"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, server: w.server, engine: w.engine, c: w.c}
			file := t.TempDir() + "/started"
			id := w.schedule(name, map[string]any{"file": file}).GetId()
			w.until(id, "ready to be cancelled", c.when)
			if _, err := w.c.Cancel(w.ctx(), id, client.CancelOptions{User: "you", Reason: "enough"}); err != nil {
				t.Fatal(err)
			}
			job := w.end(id)
			if show(job) != c.want || job.GetCanceledBy() != "you" || job.GetReason() != "enough" || job.GetEnd() == nil {
				t.Errorf("%s by %q for %q; want %s", show(job), job.GetCanceledBy(), job.GetReason(), c.want)
			}
			again, err := w.c.Cancel(w.ctx(), id, client.CancelOptions{User: "late", Reason: "late"})
			if err != nil || again.GetCanceledBy() != "you" || again.GetReason() != "enough" {
				t.Errorf("once more: by %q for %q, %v", again.GetCanceledBy(), again.GetReason(), err)
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("something of it started afterwards")
			}
		})
	}
}
