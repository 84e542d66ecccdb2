package prunner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/stream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// jobLogs is a task's output so far. It is streamed: what is in memory is a
// message of the log.
func (g *server) jobLogs(w http.ResponseWriter, r *http.Request) {
	_, task := g.taskIn(w, r)
	if task == nil {
		return
	}
	tail, err := stream.Tail(r)
	if err != nil {
		reply.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	runs, err := g.runsOf(r.Context(), task)
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	only := r.URL.Query().Get("stream")
	if only != "" && only != "stdout" && only != "stderr" {
		reply.Error(w, http.StatusBadRequest, fmt.Sprintf("invalid stream %q: it is stdout or stderr", only))
		return
	}
	tips, err := stream.Tips(r.Context(), g.Client, runs)
	if err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	tag := stream.Tag(runs, tips, fmt.Sprintf("%s.%d", only, tail))
	if only != "" {
		stream.Send(w, r, g.House, stream.Text{Runs: runs, Tips: tips, Stream: stream.Named(only), Tail: tail, Tag: tag})
		return
	}
	out, done := reply.Begin(w, r, tag, "application/json")
	if done {
		return
	}
	text := stream.Text{Runs: runs, Stream: lines.Stdout, Tail: tail}
	_, _ = out.WriteString(`{"stdout":"`)
	err = text.Write(r.Context(), g.Client, stream.JSONWriter{Writer: out.Writer})
	_, _ = out.WriteString(`","stderr":"`)
	if err == nil {
		text.Stream = lines.Stderr
		err = text.Write(r.Context(), g.Client, stream.JSONWriter{Writer: out.Writer})
	}
	_, _ = out.WriteString(`"}`)
	stream.Finish(out, g.Log, err)
}

// taskIn finds the task that a request names, and its job.
func (g *server) taskIn(w http.ResponseWriter, r *http.Request) (job *pb.Job, task *pb.JobTask) {
	if job = g.jobIn(w, r); job == nil {
		return nil, nil
	}
	name := r.URL.Query().Get("task")
	if name == "" {
		reply.Error(w, http.StatusBadRequest, "Invalid task name")
		return nil, nil
	}
	if task = job.Task(name); task == nil {
		reply.Error(w, http.StatusNotFound, "Task not found")
	}
	return job, task
}

// runsOf are the runs of a task, in order of their runners' names. One that has
// no record, or no longer, has no output.
func (g *server) runsOf(ctx context.Context, task *pb.JobTask) ([]*pb.Run, error) {
	var runs []*pb.Run
	for _, id := range task.GetRuns() {
		run, err := g.Client.Status(ctx, id)
		if errors.Is(err, client.ErrUnknownRun) {
			continue
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b *pb.Run) int {
		if a.GetRunner() < b.GetRunner() {
			return -1
		}
		return 1
	})
	return runs, nil
}
