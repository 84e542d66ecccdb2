package api

import (
	"context"
	"net/http"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

type jobsIn struct {
	Pipeline string `query:"pipeline" doc:"jobs of this pipeline"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Next     string `query:"next" doc:"from the reply before"`
}

type jobs struct {
	Jobs []message[*pb.Job] `json:"jobs" doc:"newest first"`
	Next string             `json:"next" doc:"not empty when there are more"`
}

// JobIn is a job in a path.
type JobIn struct {
	ID string `path:"id" doc:"the job's id"`
}

type scheduleIn struct {
	PipelineNamed
	Body *struct {
		ID        string         `json:"id,omitempty" format:"uuid" doc:"of the job: the same again returns the first. Default: a new one"`
		Variables map[string]any `json:"variables,omitempty"`
		Partition string         `json:"queuePartition,omitempty" doc:"in which a partitioned_replace queue may replace it"`
	} `required:"false"`
}

type cancelIn struct {
	JobIn
	Body *struct {
		Reason string `json:"reason,omitempty" doc:"for readers"`
	} `required:"false"`
}

type rerunIn struct {
	JobIn
	Body *struct {
		Failed bool   `json:"failed,omitempty" doc:"keep the tasks that ended well"`
		From   string `json:"from,omitempty" doc:"run this task and those that depend on it, keep the others"`
	} `required:"false"`
}

type jobOut struct {
	Status   int
	Location string `header:"Location"`
	Body     message[*pb.Job]
}

func (s *server) describeJobs(d *desk) {
	add(d, row{"list-pipelines", "GET", "/api/v1/pipelines", auth.ScopeRead, "The pipelines, by name", 0}, s.listPipelines)
	add(d, row{"show-pipeline", "GET", "/api/v1/pipelines/{name}", auth.ScopeRead, "A pipeline, its variables, its last jobs and how long they took", 0}, s.showPipeline)
	add(d, row{"schedule-job", "POST", "/api/v1/pipelines/{name}/jobs", auth.ScopeJobs, "Start a job", http.StatusAccepted}, s.schedule)
	add(d, row{"list-jobs", "GET", "/api/v1/jobs", auth.ScopeRead, "Jobs, newest first", 0}, s.listJobs)
	add(d, row{"show-job", "GET", "/api/v1/jobs/{id}", auth.ScopeRead, "A job and its tasks", 0},
		func(ctx context.Context, in *JobIn) (*answer[message[*pb.Job]], error) {
			job, err := s.Job(ctx, in.ID)
			return &answer[message[*pb.Job]]{message[*pb.Job]{job}}, err
		})
	add(d, row{"cancel-job", "POST", "/api/v1/jobs/{id}/cancel", auth.ScopeJobs, "Cancel a job", 0},
		func(ctx context.Context, in *cancelIn) (*answer[message[*pb.Job]], error) {
			opts := client.CancelOptions{User: auth.CallerOf(ctx).Sub}
			if in.Body != nil {
				opts.Reason = in.Body.Reason
			}
			job, err := s.Client.Cancel(ctx, in.ID, opts)
			if err == nil {
				s.audit(ctx, "a job was canceled over HTTP", "job", in.ID)
			}
			return &answer[message[*pb.Job]]{message[*pb.Job]{job}}, err
		})
	add(d, row{"rerun-job", "POST", "/api/v1/jobs/{id}/rerun", auth.ScopeJobs, "Run a job again, as a new one", http.StatusAccepted},
		func(ctx context.Context, in *rerunIn) (*jobOut, error) {
			opts := client.RerunOptions{User: auth.CallerOf(ctx).Sub}
			if in.Body != nil {
				opts.Failed, opts.From = in.Body.Failed, in.Body.From
			}
			job, err := s.Client.Rerun(ctx, in.ID, opts)
			return s.accepted(ctx, job, err)
		})
}

func messages[M pb.Message](all []M) []message[M] {
	out := make([]message[M], len(all))
	for i, m := range all {
		out[i] = message[M]{m}
	}
	return out
}

func (s *server) schedule(ctx context.Context, in *scheduleIn) (*jobOut, error) {
	if s.Stopping.Load() {
		return nil, problem(http.StatusServiceUnavailable, "the gateway is shutting down")
	}
	opts := client.ScheduleOptions{User: auth.CallerOf(ctx).Sub}
	if in.Body != nil {
		opts.ID, opts.Variables, opts.Partition = in.Body.ID, in.Body.Variables, in.Body.Partition
	}
	job, err := s.Client.Schedule(ctx, in.Name, opts)
	return s.accepted(ctx, job, err)
}

func (s *server) accepted(ctx context.Context, job *pb.Job, err error) (*jobOut, error) {
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "a job was scheduled over HTTP", "job", job.GetId(), "pipeline", job.GetPipeline())
	return &jobOut{http.StatusAccepted, "/api/v1/jobs/" + job.GetId(), message[*pb.Job]{job}}, nil
}

func (s *server) listJobs(ctx context.Context, in *jobsIn) (*answer[jobs], error) {
	if err := s.mirrored(ctx); err != nil {
		return nil, err
	}
	page, next, err := s.Mirror.Page(ctx, in.Pipeline, in.Next, in.Limit)
	if err != nil {
		return nil, problem(http.StatusBadRequest, "%s", err)
	}
	return &answer[jobs]{jobs{messages(s.Mirror.Placed(page)), next}}, nil
}

// mirrored waits a moment for a gateway that has just started.
func (s *server) mirrored(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-s.Mirror.Ready():
		return nil
	case <-ctx.Done():
		return problem(http.StatusServiceUnavailable, "the pipelines are still being read")
	}
}
