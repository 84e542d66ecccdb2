package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
	"github.com/runnel-io/runnel/service/pipeline/layout"
)

// handler is the task that pipelines have run after a failed job.
const handler = definition.OnErrorTask

func (s *server) describeGraphs(d *desk) {
	add(d, row{"show-pipeline-graph", "GET", "/api/v1/pipelines/{name}/graph", auth.ScopeRead, "Where a picture has the tasks of a pipeline", 0},
		func(ctx context.Context, in *PipelineNamed) (*answer[layout.Graph], error) {
			if err := s.mirrored(ctx); err != nil {
				return nil, err
			}
			p := s.Mirror.Pipeline(in.Name)
			if p == nil {
				return nil, problem(http.StatusNotFound, "pipeline %q is not defined", in.Name)
			}
			return s.picture(ctx, in.Name, tasksOfDefinition(p))
		})
	add(d, row{"show-job-graph", "GET", "/api/v1/jobs/{id}/graph", auth.ScopeRead, "Where a picture has the tasks of a job", 0},
		func(ctx context.Context, in *JobIn) (*answer[layout.Graph], error) {
			if err := s.mirrored(ctx); err != nil {
				return nil, err
			}
			job, err := s.Client.Job(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return s.picture(ctx, job.GetPipeline(), tasksOfJob(job))
		})
}

// picture places tasks; the longest chain is by what they took in the last jobs.
func (s *server) picture(ctx context.Context, pipeline string, tasks []layout.Task) (*answer[layout.Graph], error) {
	page, _, err := s.Mirror.Page(ctx, pipeline, "", 5*lastJobs)
	if err != nil {
		return nil, err
	}
	usual := mediansOf(good(s.Mirror.Placed(page))).Tasks
	for i := range tasks {
		tasks[i].Seconds = usual[tasks[i].Name]
	}
	return &answer[layout.Graph]{layout.Of(tasks)}, nil
}

// tasksOfJob are a job's. The handler depends on nothing; it is shown behind what
// it was run for.
func tasksOfJob(job *pb.Job) []layout.Task {
	var tasks []layout.Task
	var failed []string
	for _, t := range job.GetTasks() {
		if t.GetStatus() == string(graph.TaskError) && !t.GetAllowFailure() && t.GetName() != handler {
			failed = append(failed, t.GetName())
		}
	}
	for i, t := range job.GetTasks() {
		one := layout.Task{Name: t.GetName(), DependsOn: t.GetDependsOn()}
		if t.GetName() == handler && i == len(job.GetTasks())-1 && len(one.DependsOn) == 0 {
			one.DependsOn = failed
		}
		tasks = append(tasks, one)
	}
	return tasks
}

// tasksOfDefinition are a pipeline's, by name.
func tasksOfDefinition(p *pb.Pipeline) []layout.Task {
	var def struct {
		Tasks map[string]struct {
			DependsOn []string `json:"depends_on"`
		} `json:"tasks"`
	}
	_ = json.Unmarshal([]byte(p.GetDefinition()), &def) // the mirror wrote it
	var tasks []layout.Task
	for _, name := range slices.Sorted(maps.Keys(def.Tasks)) {
		tasks = append(tasks, layout.Task{Name: name, DependsOn: def.Tasks[name].DependsOn})
	}
	return tasks
}
