package prunner

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/stream"
	"github.com/runnel-io/runnel/service/pipeline/graph"

	"github.com/runnel-io/runnel/pb"
)

// taskEvents is the log of a job's task as events.
type taskEvents struct {
	stream.Log
	g         *server
	job, task string
}

// jobLogEvents sends a task's log: of the runs of its attempt, one after another.
// An id has its run's name in it where it must: with several, and after the first
// attempt. Another attempt begins with a reset.
func (g *server) jobLogEvents(w http.ResponseWriter, r *http.Request) {
	job, task := g.taskIn(w, r)
	if task == nil {
		return
	}
	last := r.Header.Get("Last-Event-ID")
	runs, err := g.runsOf(r.Context(), task)
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	from, at, known := whereIn(last, task, runs)
	if graph.Status(task.GetStatus()).Final() {
		past := last != "" && len(runs) == 0
		if known && from == len(runs)-1 {
			past, err = stream.IsPast(r.Context(), g.Client, runs[from], at)
		}
		if stream.IsOver(w, past, err) {
			return
		}
	}
	ctx, events, done := stream.Open(g.Life, w, r)
	defer done()
	if r.Method == http.MethodHead {
		return
	}
	t := &taskEvents{Log: stream.Log{Events: events, House: g.House, At: at}, g: g, job: job.GetId(), task: task.GetName()}
	if last != "" && !known {
		err = t.Reset()
	}
	if err == nil {
		err = t.follow(ctx, task, from)
	}
	stream.EndedEarly(ctx, g.Log, err)
}

// whereIn reads the id of the last event that a client has.
func whereIn(last string, task *pb.JobTask, runs []*pb.Run) (from int, at stream.Place, known bool) {
	name, text, named := strings.Cut(last, "/")
	if !named {
		name, text = "", last
	}
	at, known = stream.PlaceOf(text)
	switch {
	case !known || named != isNamed(task):
		return 0, stream.Place{}, false
	case named:
		from = slices.IndexFunc(runs, func(r *pb.Run) bool { return r.GetId() == name })
	}
	if from < 0 || from >= len(runs) {
		return 0, stream.Place{}, false
	}
	return from, at, true
}

// isNamed says whether ids have their run's name in them.
func isNamed(task *pb.JobTask) bool { return len(task.GetRuns()) > 1 || task.GetAttempt() > 1 }

// follow sends the logs of a task's attempts; of the first, from one run on.
func (t *taskEvents) follow(ctx context.Context, task *pb.JobTask, from int) error {
	var shown []string
	for {
		final := graph.Status(task.GetStatus()).Final()
		runs, err := t.g.runsOf(ctx, task)
		if err != nil {
			return err
		}
		switch {
		case len(runs) > 0 && !slices.Equal(shown, task.GetRuns()) && (final || len(runs) == len(task.GetRuns())):
			if err := t.again(shown != nil); err != nil {
				return err
			}
			if err := t.attempt(ctx, runs[from:], isNamed(task)); err != nil {
				return err
			}
			shown, from = task.GetRuns(), 0
		case final:
			return t.SendEnd("end")
		default:
			if err := stream.Pause(ctx, stream.Look); err != nil {
				return err
			}
		}
		job, err := t.g.Job(ctx, t.job)
		if err != nil {
			return err
		}
		if task = job.Task(t.task); task == nil {
			return t.SendEnd("end")
		}
	}
}

// again begins another attempt, if one was shown.
func (t *taskEvents) again(shown bool) error {
	if !shown {
		return nil
	}
	if err := t.SendEnd(""); err != nil {
		return err
	}
	return t.Reset()
}

// attempt sends the logs of runs. The last one's end is kept: it is not known yet
// whether it is that of the task.
func (t *taskEvents) attempt(ctx context.Context, runs []*pb.Run, named bool) error {
	for i, run := range runs {
		if i > 0 {
			if err := t.SendEnd(""); err != nil {
				return err
			}
			t.At = stream.Place{}
		}
		if named {
			t.Prefix = run.GetId() + "/"
		}
		if err := t.Run(ctx, run); err != nil {
			return err
		}
	}
	return nil
}
