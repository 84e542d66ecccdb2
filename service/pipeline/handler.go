package pipeline

import (
	"fmt"
	"maps"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
)

// noteError keeps the first real error of the job.
func (w *work) noteError(n *graph.Node, text string) {
	if n.Failed() && w.job.GetLastError() == "" {
		w.job.Errored, w.job.LastError = true, fmt.Sprintf("task %s: %s", n.Name, text)
	}
}

// handleError runs the pipeline's handler after a failed job, once.
func (w *work) handleError() error {
	handler := w.in.Definition.OnError
	if handler == nil || !w.job.GetErrored() || w.job.GetCanceled() || handler.Script.Blank() {
		return nil
	}
	task := w.job.Task(definition.OnErrorTask)
	if task == nil {
		task = &pb.JobTask{Name: definition.OnErrorTask, Number: int32(len(w.job.GetTasks()) + 1), Attempt: 1, Status: string(graph.TaskRunning), Start: stamp(now())}
		task.Runs = []string{task.RunID(w.id, 1)}
		w.job.Tasks = append(w.job.Tasks, task)
		if err := w.save(); err != nil {
			return err
		}
	}
	if graph.Status(task.GetStatus()).Final() {
		return nil
	}
	a := w.attempt(task, &definition.Task{Script: handler.Script, Env: w.handlerEnv(handler.Env)})
	for {
		select {
		case <-w.ended:
			task.ExitCode, task.Error, task.Runner, task.End = int32(a.Result.ExitCode), a.Result.Text, a.Result.Runner, stamp(now())
			task.Status = string(graph.TaskDone)
			switch {
			case a.Result.Canceled:
				task.Status = string(graph.TaskCanceled)
			case a.Result.Text != "":
				task.Status = string(graph.TaskError)
			}
			return nil
		case c := <-w.cancels:
			w.job.CanceledBy, w.job.CanceledAt, w.job.Reason = c.by, stamp(now()), c.reason
			a.Abort()
			close(c.written)
		case <-w.t.ctx.Done():
			return errFenced
		}
	}
}

// handlerEnv adds what the handler knows of the failed task. It is environment
// as well as template values, so that output never has to be part of shell code.
func (w *work) handlerEnv(env map[string]definition.Text) map[string]definition.Text {
	all := maps.Clone(env)
	if all == nil {
		all = map[string]definition.Text{}
	}
	n := w.graph.Failed()
	if n == nil {
		return all
	}
	task := w.job.Task(n.Name)
	all["failedTaskName"], all["failedTaskError"] = definition.Text(n.Name), definition.Text(task.GetError())
	all["failedTaskExitCode"] = definition.Text(fmt.Sprint(task.GetExitCode()))
	stdout, stderr := w.t.fleet.Tails(w.t.ctx, task.GetRuns())
	all["failedTaskStdout"], all["failedTaskStderr"] = definition.Text(stdout), definition.Text(stderr)
	return all
}
