package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/jobs"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/subjects"
)

// engineTime is how long an engine has to come: another one takes over when it dies.
const engineTime = 10 * time.Second

// Pipelines lists the pipelines by name.
func (c *Client) Pipelines(ctx context.Context) ([]*pb.Pipeline, error) {
	reply, err := c.pipeline(ctx, "", &pb.PipelineAction{List: &pb.ListPipelines{}})
	return reply.GetPipelines(), err
}

// Pipeline is one pipeline with its definition. Error: ErrUnknownPipeline.
func (c *Client) Pipeline(ctx context.Context, name string) (*pb.Pipeline, error) {
	reply, err := c.pipeline(ctx, "", &pb.PipelineAction{List: &pb.ListPipelines{Name: name}})
	if err != nil {
		return nil, err
	}
	if len(reply.GetPipelines()) == 0 {
		return nil, fmt.Errorf("pipeline %q %w", name, ErrUnknownPipeline)
	}
	return reply.GetPipelines()[0], nil
}

// ScheduleOptions of a new job.
type ScheduleOptions struct {
	// ID of the job, a UUID: the same id again gives the first job. Default: a new one.
	ID string
	// Variables of the job.
	Variables map[string]any
	// User who starts it; it is shown and gives no right.
	User string
	// Partition in which a queue may replace it.
	Partition string
}

// Schedule starts a job of a pipeline, at once or when the pipeline's queue lets
// it. Errors: ErrUnknownPipeline, ErrInvalid, and ErrConflict where the queue
// takes no more.
func (c *Client) Schedule(ctx context.Context, pipeline string, opts ScheduleOptions) (*pb.Job, error) {
	body, err := json.Marshal(opts.Variables)
	if err != nil {
		return nil, fmt.Errorf("cannot send the variables: %w", err)
	}
	if opts.Variables == nil {
		body = nil
	}
	if len(body) > pb.MaxVariables { // which may be more than a message holds
		return nil, fmt.Errorf("%w: cannot use variables: they have %d bytes, %d at most", ErrInvalid, len(body), pb.MaxVariables)
	}
	reply, err := c.pipeline(ctx, opts.ID, &pb.PipelineAction{Schedule: &pb.ScheduleJob{
		Pipeline: pipeline, VariablesJson: string(body), User: opts.User, QueuePartition: opts.Partition,
	}})
	return reply.GetJob(), err
}

// JobsOptions say which jobs are listed.
type JobsOptions struct {
	// Pipeline narrows to one.
	Pipeline string
	// Page is how many are asked for at a time. Default: 100.
	Page int
}

// Jobs yields jobs, newest first, a page at a time. An error is the last pair.
func (c *Client) Jobs(ctx context.Context, opts JobsOptions) iter.Seq2[*pb.Job, error] {
	return func(yield func(*pb.Job, error) bool) {
		next := ""
		for {
			reply, err := c.pipeline(ctx, "", &pb.PipelineAction{Jobs: &pb.ListJobs{Pipeline: opts.Pipeline, Limit: int64(opts.Page), Next: next}})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range reply.GetJobs() {
				if !yield(job, nil) {
					return
				}
			}
			if next = reply.GetNext(); next == "" {
				return
			}
		}
	}
}

// Job is a job as it is now. Error: ErrUnknownJob.
func (c *Client) Job(ctx context.Context, id string) (*pb.Job, error) {
	reply, err := c.pipeline(ctx, "", &pb.PipelineAction{Job: &pb.JobRef{Id: id}})
	return reply.GetJob(), err
}

// CancelOptions tell who cancels a job, and why.
type CancelOptions struct{ User, Reason string }

// Cancel ends a job: a waiting one at once, a running one as soon as its tasks have
// been aborted. A job that has ended stays as it is. Error: ErrUnknownJob.
func (c *Client) Cancel(ctx context.Context, id string, opts CancelOptions) (*pb.Job, error) {
	reply, err := c.pipeline(ctx, "", &pb.PipelineAction{Cancel: &pb.CancelJob{Id: id, User: opts.User, Reason: opts.Reason}})
	return reply.GetJob(), err
}

// RerunOptions say what of a job is run again. The zero value is all of it.
type RerunOptions struct {
	// Failed keeps the tasks that ended well.
	Failed bool
	// From runs this task and those that depend on it.
	From string
	// User who asks; it is shown and gives no right.
	User string
}

// Rerun makes a new job with the definition and the variables of a job that has ended.
// Errors: ErrUnknownJob, ErrConflict where it has not ended.
func (c *Client) Rerun(ctx context.Context, id string, opts RerunOptions) (*pb.Job, error) {
	reply, err := c.pipeline(ctx, "", &pb.PipelineAction{Rerun: &pb.RerunJob{Id: id, Failed: opts.Failed, From: opts.From, User: opts.User}})
	return reply.GetJob(), err
}

// ApplyOptions of a file of definitions.
type ApplyOptions struct {
	// Source is where the text is from, such as host:path. A pipeline belongs to
	// one source. Required.
	Source string
	// Prune removes the source's pipelines that the text does not have.
	Prune bool
	// Env is the environment of all tasks below the pipelines' own.
	Env map[string]string
}

// Apply stores the pipelines of a pipelines.yml, or replaces them: all of them or,
// after an error, none. Errors: ErrInvalid; ErrConflict where a pipeline is in another
// source as well.
func (c *Client) Apply(ctx context.Context, text string, opts ApplyOptions) ([]*pb.Pipeline, error) {
	reply, err := c.pipeline(ctx, "", &pb.PipelineAction{Apply: &pb.ApplyPipelines{Text: text, Source: opts.Source, Prune: opts.Prune, Env: opts.Env}})
	return reply.GetPipelines(), err
}

// RemovePipeline removes a definition; its jobs stay. Error: ErrUnknownPipeline.
func (c *Client) RemovePipeline(ctx context.Context, name string) error {
	_, err := c.pipeline(ctx, "", &pb.PipelineAction{Remove: &pb.RemovePipeline{Name: name}})
	return err
}

// WatchJob calls each with a job as it is and then with each change of it, until
// it has completed or each returns an error. Error: ErrUnknownJob.
func (c *Client) WatchJob(ctx context.Context, id string, each func(*pb.Job) error) error {
	first, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	return jobs.Watch(ctx, c.link, jobs.Watched{
		Job:   first,
		Again: func(ctx context.Context) (*pb.Job, error) { return c.Job(ctx, first.GetId()) },
		Gone:  fmt.Errorf("%w %s: it was removed", ErrUnknownJob, id),
	}, each)
}

// pipeline asks the engine, and waits for one to come. It asks again where there
// was no answer: an engine that was stopped is still asked until it is replaced. A
// new job has an id for that, which makes asking twice harmless.
func (c *Client) pipeline(ctx context.Context, id string, action *pb.PipelineAction) (*pb.PipelineReply, error) {
	if id == "" && (action.Schedule != nil || action.Rerun != nil) {
		id = uuid.NewString()
	}
	req := &pb.PipelineRequest{
		ApiVersion: pb.APIVersion, Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.PipelineSpec{Pipeline: action},
	}
	began := time.Now()
	for {
		var reply pb.PipelineReply
		err := c.link.Call(ctx, subjects.Any, link.Question{Verb: subjects.Pipeline, Body: req, Reply: &reply})
		if err == nil {
			return &reply, nil
		}
		absent := errors.Is(err, ErrNoRunners)
		if !absent && !errors.Is(err, ErrNoAnswer) && Code(err) < 500 {
			return nil, err
		}
		if time.Since(began) > engineTime+c.link.Timeout || pause(ctx, engineTime/100) != nil {
			if absent {
				err = ErrNoEngine
			}
			return nil, fmt.Errorf("cannot ask for pipelines: %w", err)
		}
	}
}
