package api

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/stream"
)

// target says where a task is to run. Empty: on any one runner.
type target struct {
	On    string `json:"on,omitempty" doc:"this runner"`
	Pool  string `json:"pool,omitempty" doc:"a runner of this pool"`
	Where string `json:"where,omitempty" doc:"a runner that this selector matches"`
	All   bool   `json:"all,omitempty" doc:"every runner that is meant instead of one"`
	Limit string `json:"limit,omitempty" doc:"with all: so many of them at most, or such a share (25%)"`
	Batch int    `json:"batch,omitempty" minimum:"0" doc:"with all: so many are asked at a time"`
}

func (t target) is() client.Target {
	return client.Target{On: t.On, Pool: t.Pool, Where: t.Where, All: t.All}
}

// checkTarget finds what is wrong with a target before anybody is asked.
func checkTarget(t client.Target) error {
	if err := t.Validate(); err != nil {
		return problem(http.StatusBadRequest, "target: %s", err)
	}
	_, err := compile(t.Where)
	return err
}

// Program is what is asked to be run: one of command, argv, script and code.
type Program struct {
	Name      string                  `json:"name,omitempty" doc:"for readers"`
	Command   string                  `json:"command,omitempty" doc:"shell text"`
	Argv      []string                `json:"argv,omitempty" doc:"exact arguments, no shell"`
	Script    string                  `json:"script,omitempty" doc:"a bash script, whose first line says so: #!/bin/bash"`
	Code      string                  `json:"code,omitempty" doc:"source code in a language"`
	Lang      string                  `json:"language,omitempty" doc:"the language of code or files"`
	Version   string                  `json:"version,omitempty" doc:"of the language; default: the first that a host has"`
	Files     []asked[*pb.SourceFile] `json:"files,omitempty" doc:"more files of a program; without code, the first is the main one"`
	Args      []string                `json:"args,omitempty" doc:"the program's arguments, with code"`
	Stdin     string                  `json:"stdin,omitempty" doc:"what it reads"`
	Binary    bool                    `json:"stdinBase64,omitempty" doc:"stdin is base64"`
	Params    []asked[*pb.Param]      `json:"params,omitempty" doc:"its environment, in order"`
	Dir       string                  `json:"dir,omitempty" doc:"its working directory; @run is an empty one of its own"`
	User      string                  `json:"user,omitempty" doc:"the account it runs as"`
	Timeout   string                  `json:"timeout,omitempty" doc:"a duration, such as 90s"`
	Grace     string                  `json:"grace,omitempty" doc:"a duration: from SIGTERM to SIGKILL"`
	Expires   string                  `json:"expires,omitempty" doc:"a duration: how long it may wait for a place"`
	Tags      map[string]string       `json:"tags,omitempty" doc:"on the run's record; lists filter by them"`
	Limits    *asked[*pb.Limits]      `json:"limits,omitempty"`
	Isolation string                  `json:"isolation,omitempty" enum:"none,standard,strict" doc:"default: the runner's policy"`
	Network   bool                    `json:"network,omitempty" doc:"a strict run has the host's network"`
	Log       *asked[*pb.Log]         `json:"log,omitempty" doc:"how its output is cut and kept"`
}

// asksRun is a program, and where it is to run.
type asksRun struct {
	Program
	ID     string `json:"id,omitempty" doc:"the run's id: the same again, with the same task, returns the first run. Default: a new one"`
	Target target `json:"target,omitempty"`
	Wait   string `json:"wait,omitempty" doc:"a duration, at most 30s: how long to wait for its end"`
}

type startIn struct{ Body asksRun }

// userTag is the tag that says who asked for a run, as the token claims; a
// caller's own tag of that name is replaced.
const userTag = "user"

// started has the runs of a task: one, or one for each runner.
type started struct {
	ID    string    `json:"id" doc:"of the run or, with all, of the group"`
	Group string    `json:"group,omitempty" doc:"the id that the runs of a fan-out share"`
	Runs  []run     `json:"runs"`
	Fleet *FanLists `json:"fleet,omitempty" doc:"with all: who took it and who did not"`
}

type startOut struct {
	Status   int
	Location string `header:"Location"`
	Body     started
}

func (s *server) start(ctx context.Context, in *startIn) (*startOut, error) {
	t := in.Body
	who := auth.CallerOf(ctx)
	if !who.May(auth.ScopeRun) && !t.isCodeAlone() {
		return nil, problem(http.StatusForbidden, "the token does not allow this: it needs scope %s", auth.ScopeRun)
	}
	if s.Stopping.Load() {
		return nil, problem(http.StatusServiceUnavailable, "the gateway is shutting down")
	}
	wait, err := pb.Duration("wait", t.Wait, 0)
	if err != nil {
		return nil, err
	}
	if wait > pb.MaxWait {
		return nil, problem(http.StatusBadRequest, "wait: %q is more than %s", t.Wait, pb.MaxWait)
	}
	if err := checkTarget(t.Target.is()); err != nil {
		return nil, err
	}
	req, err := t.request()
	if err != nil {
		return nil, err
	}
	claim(req.GetSpec().GetTask(), who)
	var out *startOut
	if t.Target.All {
		out, err = s.startAll(ctx, t, req)
	} else {
		out, err = s.startOne(ctx, t, req)
	}
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "a task was started over HTTP", "id", out.Body.ID, "runs", len(out.Body.Runs))
	out.Status = http.StatusAccepted
	if wait > 0 && s.waitAll(ctx, out.Body.Runs, wait) {
		out.Status = http.StatusOK
	}
	return out, nil
}

// isCodeAlone: what scope code allows, source in a language on any runner, held
// as its policy says for languages.
func (t asksRun) isCodeAlone() bool {
	return t.Lang != "" && t.Command == "" && t.Script == "" && t.User == "" && t.Dir == "" && !t.Network &&
		(t.Isolation == "" || t.Isolation == "strict") && t.Target == (target{})
}

// claim puts on a task who asks for it.
func claim(what *pb.Task, who auth.Caller) {
	if who.Sub == "" || what == nil {
		return
	}
	if what.Tags = maps.Clone(what.GetTags()); what.Tags == nil {
		what.Tags = map[string]string{}
	}
	what.Tags[userTag] = who.Sub
}

// request is the task as the wire has it; what is wrong with it is said by its
// validation, in the fields' own names.
func (t asksRun) request() (*pb.TaskRequest, error) {
	what, err := t.task()
	if err != nil {
		return nil, err
	}
	return requestOf(t.ID, what)
}

// requestOf is a request for a task, under its own id or a new one.
func requestOf(id string, what *pb.Task) (*pb.TaskRequest, error) {
	if id == "" {
		id = ulid.Make().String()
	}
	req := &pb.TaskRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Metadata: &pb.Metadata{Name: what.GetName(), Id: id}, Spec: &pb.TaskSpec{Task: what}}
	return req, req.Validate()
}

// task is the program as the wire has it.
func (p Program) task() (*pb.Task, error) {
	what := &pb.Task{
		Name: p.Name, Argv: p.Argv, Dir: p.Dir, User: p.User, Timeout: p.Timeout, Grace: p.Grace, Expires: p.Expires,
		Tags: p.Tags, Isolation: p.Isolation, Network: p.Network, Stdin: []byte(p.Stdin),
	}
	if err := p.setProgram(what); err != nil {
		return nil, err
	}
	if p.Binary {
		var err error
		if what.Stdin, err = base64.StdEncoding.DecodeString(p.Stdin); err != nil {
			return nil, problem(http.StatusBadRequest, "stdin: it is not base64: %s", err)
		}
	}
	for _, param := range p.Params {
		what.Params = append(what.Params, param.is)
	}
	if p.Limits != nil {
		what.Limits = p.Limits.is
	}
	if p.Log != nil {
		what.Log = p.Log.is
	}
	return what, nil
}

// setProgram puts in what is to be run.
func (p Program) setProgram(into *pb.Task) error {
	kinds := 0
	for _, is := range []bool{p.Command != "", len(p.Argv) > 0, p.Script != "", p.Lang != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0 && (p.Code != "" || len(p.Files) > 0):
		return problem(http.StatusBadRequest, "code needs a language")
	case kinds != 1:
		return problem(http.StatusBadRequest, "a task is one of command, argv, script, and code with its language")
	case p.Lang == "" && (p.Code != "" || len(p.Files) > 0 || len(p.Args) > 0 || p.Version != ""):
		return problem(http.StatusBadRequest, "code, files, args and version need a language")
	case p.Command != "":
		into.Commands = []string{p.Command}
	case p.Script != "":
		into.File = &pb.File{Content: []byte(p.Script)}
	case p.Lang != "":
		into.Language = &pb.Language{Name: p.Lang, Version: p.Version}
		into.Argv = p.Args
		if p.Code != "" {
			into.File = &pb.File{Content: []byte(p.Code)}
		}
		for _, f := range p.Files {
			into.Files = append(into.Files, f.is)
		}
	}
	return nil
}

func (s *server) startOne(ctx context.Context, t asksRun, req *pb.TaskRequest) (*startOut, error) {
	r, err := s.startSoon(ctx, t.Target.is(), req)
	if err != nil {
		return nil, err
	}
	return &startOut{Location: "/api/v1/runs/" + r.GetId(), Body: started{ID: r.GetId(), Runs: []run{{is: r}}}}, nil
}

const (
	fullWait  = time.Second // that a request waits for a place
	fullPause = fullWait / 20
)

// startSoon waits for a place for a moment, where any runner of several may take
// the task.
func (s *server) startSoon(ctx context.Context, to client.Target, req *pb.TaskRequest) (*pb.Run, error) {
	for began := time.Now(); ; {
		r, err := s.Client.Start(ctx, to, req)
		switch {
		case err == nil || to.On != "" || !s.isFull(ctx, to, err):
			return r, err
		case time.Since(began) > fullWait:
			return nil, problem(http.StatusTooManyRequests, "all runners that are meant are busy: try again in a second")
		}
		if err := stream.Pause(ctx, fullPause); err != nil {
			return nil, err
		}
	}
}

// isFull says whether a task was not taken for want of a place. A full runner
// hears nothing of what any may do, so that none answers; it is still online.
func (s *server) isFull(ctx context.Context, to client.Target, err error) bool {
	if errors.Is(err, client.ErrFull) || errors.Is(err, client.ErrBusy) {
		return true
	}
	if !errors.Is(err, client.ErrNoRunners) {
		return false
	}
	runners, err := s.Client.Runners(ctx)
	return err == nil && slices.ContainsFunc(runners, func(r client.Runner) bool {
		return r.Online && (to.Pool == "" || slices.Contains(r.Card.GetPools(), to.Pool))
	})
}

func (s *server) startAll(ctx context.Context, t asksRun, req *pb.TaskRequest) (*startOut, error) {
	id := req.GetMetadata().GetId()
	out := &startOut{Location: "/api/v1/runs?group=" + url.QueryEscape(id), Body: started{ID: id, Group: id, Runs: []run{}}}
	result, err := client.Collect(client.FanOut(ctx, s.Client, client.TaskOf(t.Target.is(), req), client.FanOptions{Limit: t.Target.Limit, Batch: t.Target.Batch}))
	if err != nil {
		return nil, err
	}
	for _, name := range result.OK {
		out.Body.Runs = append(out.Body.Runs, run{is: result.Answers[name].Message.GetRun()})
	}
	lists := listsOf(result.FanLists)
	out.Body.Fleet = &lists
	return out, nil
}

// waitAll waits for the ends of runs, whose records it puts in their places. It
// says whether all have ended.
func (s *server) waitAll(ctx context.Context, runs []run, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for i := range runs {
		body, err := s.Feeds.RunEnd(ctx, runs[i].is.GetId())
		if err != nil {
			return false
		}
		runs[i].encoded = body
	}
	return true
}
