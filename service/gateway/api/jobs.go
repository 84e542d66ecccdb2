package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/pipeline/graph"
	"github.com/runnel-io/runnel/service/pipeline/records"
)

type pipelines struct {
	Pipelines []message[*pb.Pipeline] `json:"pipelines"`
}

// PipelineNamed is a pipeline in a path.
type PipelineNamed struct {
	Name string `path:"name" doc:"the pipeline's name"`
}

// pipelineShown is a pipeline with what a form and a picture of it need.
type pipelineShown struct {
	Pipeline message[*pb.Pipeline] `json:"pipeline"`
	Median   medians               `json:"median" doc:"of the last ten jobs that ended well"`
	Jobs     []message[*pb.Job]    `json:"jobs" doc:"the last ten, newest first"`
}

type medians struct {
	Seconds float64            `json:"seconds" doc:"of a whole job; 0: not known"`
	Tasks   map[string]float64 `json:"tasks" doc:"seconds, by task"`
}

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
	add(d, row{"list-pipelines", "GET", "/api/v1/pipelines", auth.ScopeRead, "The pipelines, by name", 0},
		func(ctx context.Context, _ *struct{}) (*answer[pipelines], error) {
			err := s.mirrored(ctx)
			return &answer[pipelines]{pipelines{messages(s.Mirror.Pipelines())}}, err
		})
	add(d, row{"show-pipeline", "GET", "/api/v1/pipelines/{name}", auth.ScopeRead, "A pipeline, its variables, its last jobs and how long they took", 0}, s.showPipeline)
	add(d, row{"schedule-job", "POST", "/api/v1/pipelines/{name}/jobs", auth.ScopeJobs, "Start a job", http.StatusAccepted}, s.schedule)
	add(d, row{"list-jobs", "GET", "/api/v1/jobs", auth.ScopeRead, "Jobs, newest first", 0}, s.listJobs)
	add(d, row{"show-job", "GET", "/api/v1/jobs/{id}", auth.ScopeRead, "A job and its tasks", 0},
		func(ctx context.Context, in *JobIn) (*answer[message[*pb.Job]], error) {
			job, err := s.Client.Job(ctx, in.ID)
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
	return &answer[jobs]{jobs{jobsAt(page), next}}, nil
}

func jobsAt(page []records.JobAt) []message[*pb.Job] {
	out := make([]message[*pb.Job], len(page))
	for i, j := range page {
		out[i] = message[*pb.Job]{j.Job}
	}
	return out
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

// lastJobs is how many jobs a pipeline's times are taken from.
const lastJobs = 10

func (s *server) showPipeline(ctx context.Context, in *PipelineNamed) (*answer[pipelineShown], error) {
	if err := s.mirrored(ctx); err != nil {
		return nil, err
	}
	p := s.Mirror.Pipeline(in.Name)
	if p == nil {
		return nil, problem(http.StatusNotFound, "pipeline %q is not defined", in.Name)
	}
	page, _, err := s.Mirror.Page(ctx, in.Name, "", 5*lastJobs)
	if err != nil {
		return nil, err
	}
	var good []*pb.Job
	for _, j := range page {
		if j.Job.GetCompleted() && !j.Job.GetErrored() && !j.Job.GetCanceled() && len(good) < lastJobs {
			good = append(good, j.Job)
		}
	}
	return &answer[pipelineShown]{pipelineShown{message[*pb.Pipeline]{p}, mediansOf(good), jobsAt(page[:min(len(page), lastJobs)])}}, nil
}

func mediansOf(all []*pb.Job) medians {
	var whole []float64
	tasks := map[string][]float64{}
	for _, job := range all {
		if job.GetStart() != nil && job.GetEnd() != nil {
			whole = append(whole, job.GetEnd().AsTime().Sub(job.GetStart().AsTime()).Seconds())
		}
		for _, t := range job.GetTasks() {
			if t.GetStatus() == string(graph.TaskDone) && !t.GetKept() && t.GetStart() != nil && t.GetEnd() != nil {
				tasks[t.GetName()] = append(tasks[t.GetName()], t.GetEnd().AsTime().Sub(t.GetStart().AsTime()).Seconds())
			}
		}
	}
	m := medians{median(whole), map[string]float64{}}
	for name, seconds := range tasks {
		m.Tasks[name] = median(seconds)
	}
	return m
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}
