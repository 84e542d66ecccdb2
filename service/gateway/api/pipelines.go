package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
)

type pipelines struct {
	Pipelines []message[*pb.Pipeline] `json:"pipelines" nullable:"false"`
	Lately    map[string]lately       `json:"lately" doc:"by pipeline, of those that have jobs: the last one, and how long they take"`
}

type lately struct {
	Seconds float64          `json:"seconds" doc:"median of the last ten jobs that ended well; 0: not known"`
	Last    message[*pb.Job] `json:"last" doc:"the newest job"`
}

// PipelineNamed is a pipeline in a path.
type PipelineNamed struct {
	Name string `path:"name" doc:"the pipeline's name"`
}

// pipelineShown is a pipeline with what a form and a picture of it need.
type pipelineShown struct {
	Pipeline  message[*pb.Pipeline] `json:"pipeline"`
	Variables []variable            `json:"variables" nullable:"false" doc:"that its templates and conditions use, by name"`
	Tasks     []node                `json:"tasks" nullable:"false" doc:"each after those that it depends on"`
	Timers    []timer               `json:"timers" nullable:"false" doc:"what starts jobs by the clock"`
	Median    medians               `json:"median" doc:"of the last ten jobs that ended well"`
	Jobs      []message[*pb.Job]    `json:"jobs" nullable:"false" doc:"the last ten, newest first"`
}

type variable struct {
	Name     string   `json:"name"`
	Required bool     `json:"required" doc:"something uses it without a default"`
	Optional bool     `json:"optional" doc:"it may be left out; one that is neither may be empty, and then takes the defaults"`
	Default  any      `json:"default,omitempty" doc:"the first one in the templates, if it is a constant"`
	Tasks    []string `json:"tasks" nullable:"false" doc:"that use it"`
}

// node is a task in a picture of the pipeline.
type node struct {
	Name         string   `json:"name"`
	DependsOn    []string `json:"dependsOn" nullable:"false"`
	Layer        int      `json:"layer" doc:"the longest way to it, in tasks, from 0"`
	AllowFailure bool     `json:"allowFailure" doc:"an error of it does not make the job fail"`
	On           place    `json:"on" doc:"which runners may run it; nothing: any"`
	When         string   `json:"when" doc:"the condition under which it runs; empty: always"`
}

type place struct {
	Runner string `json:"runner,omitempty"`
	Pool   string `json:"pool,omitempty"`
	Where  string `json:"where,omitempty"`
	All    bool   `json:"all,omitempty" doc:"every one that matches"`
}

type timer struct {
	Cron  string `json:"cron,omitempty"`
	Every string `json:"every,omitempty"`
	TZ    string `json:"tz,omitempty"`
}

type medians struct {
	Seconds float64            `json:"seconds" doc:"of a whole job; 0: not known"`
	Tasks   map[string]float64 `json:"tasks" doc:"seconds, by task"`
}

const (
	lastJobs = 10   // that times are taken from
	lookJobs = 1000 // newest ones that a list is made of
)

func (s *server) listPipelines(ctx context.Context, _ *struct{}) (*answer[pipelines], error) {
	if err := s.mirrored(ctx); err != nil {
		return nil, err
	}
	page, _, err := s.Mirror.Page(ctx, "", "", lookJobs)
	if err != nil {
		return nil, err
	}
	of := map[string][]*pb.Job{}
	for _, job := range s.Mirror.Placed(page) {
		of[job.GetPipeline()] = append(of[job.GetPipeline()], job)
	}
	all := pipelines{messages(s.Mirror.Pipelines()), map[string]lately{}}
	for _, p := range all.Pipelines {
		if jobs := of[p.is.GetName()]; len(jobs) > 0 {
			all.Lately[p.is.GetName()] = lately{mediansOf(good(jobs)).Seconds, message[*pb.Job]{jobs[0]}}
		}
	}
	return &answer[pipelines]{all}, nil
}

func (s *server) showPipeline(ctx context.Context, in *PipelineNamed) (*answer[pipelineShown], error) {
	if err := s.mirrored(ctx); err != nil {
		return nil, err
	}
	p, d := s.Mirror.Pipeline(in.Name), s.Mirror.Definition(in.Name)
	if p == nil || d == nil {
		return nil, problem(http.StatusNotFound, "pipeline %q is not defined", in.Name)
	}
	page, _, err := s.Mirror.Page(ctx, in.Name, "", 5*lastJobs)
	if err != nil {
		return nil, err
	}
	jobs := s.Mirror.Placed(page)
	shown := pipelineShown{
		Pipeline: message[*pb.Pipeline]{p}, Variables: []variable{}, Tasks: nodesOf(d), Timers: []timer{},
		Median: mediansOf(good(jobs)), Jobs: messages(jobs[:min(len(jobs), lastJobs)]),
	}
	for _, v := range d.VariablesUsed() {
		shown.Variables = append(shown.Variables, variable(v))
	}
	for _, t := range d.Schedule {
		one := timer{Cron: string(t.Cron), TZ: string(t.TZ)}
		if t.Every > 0 {
			one.Every = time.Duration(t.Every).String()
		}
		shown.Timers = append(shown.Timers, one)
	}
	return &answer[pipelineShown]{shown}, nil
}

func nodesOf(d *definition.Pipeline) []node {
	nodes, layers := []node{}, map[string]int{}
	for _, name := range d.Order() {
		t := d.Tasks[name]
		n := node{Name: name, DependsOn: slices.Clone(t.DependsOn), AllowFailure: bool(t.AllowFailure), When: string(t.When)}
		if n.DependsOn == nil {
			n.DependsOn = []string{}
		}
		for _, before := range n.DependsOn {
			n.Layer = max(n.Layer, layers[before]+1)
		}
		layers[name] = n.Layer
		if t.On != nil {
			n.On = place{string(t.On.Runner), string(t.On.Pool), string(t.On.Where), bool(t.On.All)}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// good are the newest jobs that ended well, as many as times are taken from.
func good(jobs []*pb.Job) []*pb.Job {
	var all []*pb.Job
	for _, job := range jobs {
		if job.GetCompleted() && !job.GetErrored() && !job.GetCanceled() && len(all) < lastJobs {
			all = append(all, job)
		}
	}
	return all
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
