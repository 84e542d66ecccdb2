package mcp

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp/clip"
)

func (s *Server) addPipelines() {
	add(s, tool{
		name: "list_pipelines", title: "List pipelines", need: NeedRead,
		about: "The pipelines that are defined. With a name, that one and its definition.",
	}, doListPipelines)
	add(s, tool{name: "list_jobs", title: "List jobs", need: NeedRead, about: "Jobs of pipelines, newest first."}, doListJobs)
	add(s, tool{
		name: "get_job", title: "Show a job", need: NeedRead,
		about: "A job and its tasks, at once or when it has ended. The runs of a task have its output: see get_log.",
	}, doGetJob)
	add(s, tool{
		name: "start_job", title: "Start a pipeline", need: NeedJobs, changes: true, destroys: true,
		about: "Start a job of a pipeline, and wait for it if asked to.",
	}, doStartJob)
	add(s, tool{
		name: "cancel_job", title: "Cancel a job", need: NeedJobs, changes: true, destroys: true,
		about: "End a job, and the runs of its tasks.",
	}, doCancelJob)
}

type listPipelinesIn struct {
	Name string `json:"name,omitempty" jsonschema:"only this one, with its definition"`
}

type listPipelinesOut struct {
	Pipelines []pipelineInfo `json:"pipelines"`
	Cut       string         `json:"cut,omitempty" jsonschema:"what was left out"`
}

type pipelineInfo struct {
	Name        string   `json:"name"`
	Schedulable bool     `json:"schedulable" jsonschema:"a new job would be taken now"`
	Running     int64    `json:"running_jobs"`
	Waiting     int64    `json:"waiting_jobs"`
	Variables   []string `json:"variables,omitempty" jsonschema:"that its tasks use"`
	Definition  string   `json:"definition,omitempty"`
}

const (
	maxPipelines  = 200
	maxDefinition = 64 << 10
)

// doListPipelines is the tool list_pipelines.
func doListPipelines(ctx context.Context, c *call, in listPipelinesIn) (out listPipelinesOut, err error) {
	var found []*pb.Pipeline
	if in.Name != "" {
		var one *pb.Pipeline
		one, err = c.server.client.Pipeline(ctx, in.Name)
		found = append(found, one)
	} else {
		found, err = c.server.client.Pipelines(ctx)
	}
	if err != nil {
		return out, err
	}
	out.Pipelines = []pipelineInfo{}
	for _, p := range firstOf(found, maxPipelines) {
		out.Pipelines = append(out.Pipelines, pipelineInfo{
			p.GetName(), p.GetSchedulable(), p.GetRunningJobs(), p.GetWaitingJobs(), firstOf(p.GetVariables(), maxLabels), clip.Short(p.GetDefinition(), maxDefinition),
		})
	}
	if n := len(found) - len(out.Pipelines); n > 0 {
		out.Cut = fmt.Sprintf("%d more pipelines", n)
	}
	return out, nil
}

// jobInfo is a job in short.
type jobInfo struct {
	Job       string    `json:"job" jsonschema:"its id"`
	Pipeline  string    `json:"pipeline"`
	Status    string    `json:"status" jsonschema:"waiting, running, done, errored or canceled"`
	User      string    `json:"user,omitempty"`
	Error     string    `json:"error,omitempty"`
	Created   string    `json:"created"`
	Start     string    `json:"start,omitempty"`
	End       string    `json:"end,omitempty"`
	Place     int64     `json:"place_in_queue,omitempty"`
	Variables string    `json:"variables,omitempty" jsonschema:"a JSON object"`
	Tasks     []jobTask `json:"tasks,omitempty"`
	Cut       string    `json:"cut,omitempty" jsonschema:"what was left out"`
}

type jobTask struct {
	Name      string   `json:"name"`
	Status    string   `json:"status" jsonschema:"waiting, running, skipped, done, error or canceled"`
	ExitCode  int32    `json:"exit_code"`
	Error     string   `json:"error,omitempty"`
	DependsOn []string `json:"depends_on,omitempty"`
	Runner    string   `json:"runner,omitempty"`
	Runs      []string `json:"runs,omitempty" jsonschema:"ids of its runs, for get_log and follow"`
	Start     string   `json:"start,omitempty"`
	End       string   `json:"end,omitempty"`
}

func statusOf(j *pb.Job) string {
	switch {
	case j.GetCanceled():
		return "canceled"
	case j.GetErrored() && j.GetCompleted():
		return "errored"
	case j.GetCompleted():
		return "done"
	case j.GetStart() != nil:
		return "running"
	}
	return "waiting"
}

func jobOf(j *pb.Job) jobInfo {
	return jobInfo{
		Job: j.GetId(), Pipeline: j.GetPipeline(), Status: statusOf(j), User: clip.Short(j.GetUser(), 100), Error: clip.Short(j.GetLastError(), 500),
		Created: timeText(j.GetCreated()), Start: timeText(j.GetStart()), End: timeText(j.GetEnd()), Place: j.GetPlace(),
	}
}

const (
	maxTasks     = 200
	maxVariables = 4 << 10
)

// wholeJob is a job with its tasks.
func wholeJob(j *pb.Job) jobInfo {
	info := jobOf(j)
	info.Variables = clip.Short(j.GetVariablesJson(), maxVariables)
	if len(j.GetVariablesJson()) > maxVariables {
		info.Cut = "a part of variables"
	}
	for _, t := range firstOf(j.GetTasks(), maxTasks) {
		info.Tasks = append(info.Tasks, jobTask{
			Name: t.GetName(), Status: t.GetStatus(), ExitCode: t.GetExitCode(), Error: clip.Short(t.GetError(), 500), DependsOn: firstOf(t.GetDependsOn(), maxLabels),
			Runner: t.GetRunner(), Runs: firstOf(t.GetRuns(), maxLabels), Start: timeText(t.GetStart()), End: timeText(t.GetEnd()),
		})
	}
	if n := len(j.GetTasks()) - len(info.Tasks); n > 0 {
		info.Cut = fmt.Sprintf("%d more tasks", n)
	}
	return info
}

type listJobsIn struct {
	Pipeline string `json:"pipeline,omitempty" jsonschema:"only of this one"`
	Limit    int    `json:"limit,omitempty" jsonschema:"at most so many, 1 to 100; default 20"`
}

type listJobsOut struct {
	Jobs []jobInfo `json:"jobs"`
	More bool      `json:"more,omitempty" jsonschema:"there are older ones that are not listed"`
}

// doListJobs is the tool list_jobs.
func doListJobs(ctx context.Context, c *call, in listJobsIn) (out listJobsOut, err error) {
	limit, err := listLimit(in.Limit)
	if err != nil {
		return out, err
	}
	out.Jobs = []jobInfo{}
	for job, err := range c.server.client.Jobs(ctx, client.JobsOptions{Pipeline: in.Pipeline, Page: limit + 1}) {
		if err != nil {
			return out, err
		}
		if out.More = len(out.Jobs) == limit; out.More {
			break
		}
		out.Jobs = append(out.Jobs, jobOf(job))
	}
	return out, nil
}

type getJobIn struct {
	Job         string `json:"job" jsonschema:"its id"`
	WaitSeconds int    `json:"wait_seconds,omitempty" jsonschema:"wait so long for its end, 0 to 600; default not at all"`
}

// doGetJob is the tool get_job.
func doGetJob(ctx context.Context, c *call, in getJobIn) (out jobInfo, err error) {
	job, err := c.server.client.Job(ctx, in.Job)
	if err != nil {
		return out, err
	}
	return c.waitForJob(ctx, job, in.WaitSeconds)
}

// waitForJob is a job when it has ended, or after the wait as it is then.
func (c *call) waitForJob(ctx context.Context, job *pb.Job, wait int) (out jobInfo, err error) {
	if wait < 0 || wait > maxWait {
		return out, fmt.Errorf("cannot use wait_seconds %d: it is 0 to %d", wait, maxWait)
	}
	if wait > 0 && !job.GetCompleted() {
		limited, cancel := context.WithTimeout(ctx, time.Duration(wait)*time.Second)
		defer cancel()
		err = c.server.client.WatchJob(limited, job.GetId(), func(now *pb.Job) error {
			job = now
			c.say(ctx, jobLine(now))
			return nil
		})
		if err != nil && limited.Err() == nil {
			return out, err
		}
	}
	return wholeJob(job), ctx.Err()
}

// jobLine says how a job is doing.
func jobLine(j *pb.Job) string {
	done, running := 0, ""
	for _, t := range j.GetTasks() {
		switch t.GetStatus() {
		case "running":
			running = ", " + t.GetName() + " is running"
		case "waiting":
		default:
			done++
		}
	}
	return fmt.Sprintf("%s: %d of %d tasks ended%s", statusOf(j), done, len(j.GetTasks()), running)
}

type startJobIn struct {
	Pipeline    string         `json:"pipeline"`
	Variables   map[string]any `json:"variables,omitempty" jsonschema:"those of the pipeline"`
	Partition   string         `json:"queue_partition,omitempty"`
	WaitSeconds int            `json:"wait_seconds,omitempty" jsonschema:"wait so long for its end, 0 to 600; default not at all"`
}

// doStartJob is the tool start_job. A job belongs to the fleet: it goes on without
// its caller.
func doStartJob(ctx context.Context, c *call, in startJobIn) (out jobInfo, err error) {
	job, err := c.server.client.Schedule(ctx, in.Pipeline, client.ScheduleOptions{Variables: in.Variables, User: c.server.user(ctx), Partition: in.Partition})
	if err != nil {
		return out, err
	}
	return c.waitForJob(ctx, job, in.WaitSeconds)
}

type cancelJobIn struct {
	Job    string `json:"job" jsonschema:"its id"`
	Reason string `json:"reason,omitempty" jsonschema:"for people"`
}

// doCancelJob is the tool cancel_job.
func doCancelJob(ctx context.Context, c *call, in cancelJobIn) (out jobInfo, err error) {
	job, err := c.server.client.Cancel(ctx, in.Job, client.CancelOptions{User: c.server.user(ctx), Reason: in.Reason})
	if err != nil {
		return out, err
	}
	return wholeJob(job), nil
}
