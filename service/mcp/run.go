package mcp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp/clip"
)

func (s *Server) addRuns() {
	add(s, tool{
		name: "run", title: "Run a command", need: NeedRun, changes: true, destroys: true,
		about: "Run a command on a host, or on many, and wait a while for its output. Without a target one free runner is picked. " +
			"If it goes on longer than wait_seconds, the result has a cursor for follow, and the command goes on. A call that is cancelled ends its runs.",
	}, doRun)
	add(s, tool{
		name: "run_code", title: "Run a program", need: NeedCode, changes: true,
		about: "Run source code in a language, isolated, on any runner that has the language. list_hosts says which there are.",
	}, doCode)
	add(s, tool{
		name: "follow", title: "Follow runs", need: NeedRead,
		about: "Wait for runs to end, and read their output as it comes. What goes on longer than wait_seconds comes with a cursor.",
	}, doFollow)
	add(s, tool{
		name: "abort", title: "Abort runs", need: NeedRun, changes: true, destroys: true,
		about: "End runs, and everything that they started.",
	}, doAbort)
}

// target says which hosts are meant.
type target struct {
	On    string `json:"on,omitempty" jsonschema:"the runner of this name"`
	Pool  string `json:"pool,omitempty" jsonschema:"one runner of this pool, or with all every one of it"`
	Where string `json:"where,omitempty" jsonschema:"only runners of which this is true, such as labels.env == \"prod\" && cpus > 8"`
	All   bool   `json:"all,omitempty" jsonschema:"every runner that is meant, instead of one"`
	Limit string `json:"limit,omitempty" jsonschema:"with all: at most so many runners, \"10\", or such a share of them, \"25%\""`
}

func (t target) of() (client.Target, error) {
	if t.Limit != "" && !t.All {
		return client.Target{}, errors.New("cannot use limit without all")
	}
	to := client.Target{On: t.On, Pool: t.Pool, Where: t.Where, All: t.All}
	return to, to.Validate()
}

type runIn struct {
	Command        string            `json:"command,omitempty" jsonschema:"the text of a shell (bash -c); give this or argv"`
	Argv           []string          `json:"argv,omitempty" jsonschema:"a program and its exact arguments, without a shell"`
	Stdin          string            `json:"stdin,omitempty" jsonschema:"its standard input"`
	Env            map[string]string `json:"env,omitempty" jsonschema:"its environment"`
	Dir            string            `json:"dir,omitempty" jsonschema:"its working directory; @run is an empty one that goes with the run"`
	As             string            `json:"as,omitempty" jsonschema:"the account to run as"`
	TimeoutSeconds int               `json:"timeout_seconds,omitempty" jsonschema:"end it after so long; default: never"`
	Name           string            `json:"name,omitempty" jsonschema:"a name for people"`
	Tags           map[string]string `json:"tags,omitempty" jsonschema:"tags of its record, to find it by"`
	ID             string            `json:"id,omitempty" jsonschema:"an id of your own: the same call again never runs it twice"`
	target
	reading
}

type hostError struct {
	Runner string `json:"runner"`
	Error  string `json:"error"`
}

type runOut struct {
	followOut
	Failed  []hostError `json:"not_started,omitempty" jsonschema:"runners that refused"`
	Missing []string    `json:"missing,omitempty" jsonschema:"runners that did not answer; it may have started there all the same"`
	Skipped int         `json:"skipped,omitempty" jsonschema:"runners that where leaves out"`
}

// doRun is the tool run.
func doRun(ctx context.Context, c *call, in runIn) (out runOut, err error) {
	task := &pb.Task{Argv: in.Argv, Dir: in.Dir, User: in.As, Name: in.Name, Tags: in.Tags, Stdin: []byte(in.Stdin)}
	if (in.Command == "") == (len(in.Argv) == 0) {
		return out, errors.New("cannot run this: give either a command or argv")
	}
	if in.Command != "" {
		task.Commands = []string{in.Command}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		task.Params = append(task.Params, &pb.Param{Name: name, Value: in.Env[name]})
	}
	if task.Timeout, err = seconds(in.TimeoutSeconds); err != nil {
		return out, err
	}
	to, err := in.of()
	if err != nil {
		return out, err
	}
	return c.start(ctx, job{task: task, id: in.ID, to: to, limit: in.Limit, reading: in.reading})
}

type codeIn struct {
	Language       string   `json:"language" jsonschema:"such as python3, node, go, c++, rust, bash"`
	Version        string   `json:"version,omitempty" jsonschema:"a version of it, or the beginning of one"`
	Source         string   `json:"source" jsonschema:"the program"`
	Stdin          string   `json:"stdin,omitempty" jsonschema:"its standard input"`
	Args           []string `json:"args,omitempty" jsonschema:"its arguments"`
	TimeoutSeconds int      `json:"timeout_seconds,omitempty" jsonschema:"end it after so long, compiler and all; default 60"`
	reading
}

// codeTimeout is how long a program may run unless it says otherwise.
const codeTimeout = 60

// doCode is the tool run_code.
func doCode(ctx context.Context, c *call, in codeIn) (out runOut, err error) {
	if in.TimeoutSeconds == 0 {
		in.TimeoutSeconds = codeTimeout
	}
	task := &pb.Task{
		Language: &pb.Language{Name: in.Language, Version: in.Version}, File: &pb.File{Content: []byte(in.Source)},
		Argv: in.Args, Stdin: []byte(in.Stdin),
	}
	if task.Timeout, err = seconds(in.TimeoutSeconds); err != nil {
		return out, err
	}
	return c.start(ctx, job{task: task, reading: in.reading})
}

func seconds(n int) (string, error) {
	if n < 0 {
		return "", fmt.Errorf("cannot use timeout_seconds %d: it must be 1 or more", n)
	}
	if n == 0 {
		return "", nil
	}
	return (time.Duration(n) * time.Second).String(), nil
}

// job is a task and where it is to run.
type job struct {
	task  *pb.Task
	id    string
	to    client.Target
	limit string
	reading
}

// start starts a task and follows it for a while. A call that ends before its
// result can be given ends what it has started: nobody else knows of it.
func (c *call) start(ctx context.Context, j job) (out runOut, err error) {
	wait, err := j.wait()
	if err != nil {
		return out, err
	}
	most, err := j.most()
	if err != nil {
		return out, err
	}
	if user := c.server.user(ctx); user != "" {
		j.task.Tags = maps.Clone(j.task.Tags)
		if j.task.Tags == nil {
			j.task.Tags = map[string]string{}
		}
		j.task.Tags["user"] = user
	}
	if j.id == "" {
		j.id = ulid.Make().String()
	}
	req := &pb.TaskRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Metadata: &pb.Metadata{Id: j.id}, Spec: &pb.TaskSpec{Task: j.task}}
	if err := req.Validate(); err != nil {
		return out, err
	}
	runs, err := c.startOn(ctx, j, req, &out)
	if err == nil && len(runs) > 0 {
		w := c.server.watch(runs, most)
		c.sayStarted(ctx, runs)
		if err = w.follow(ctx, c, wait); err == nil {
			out.followOut = w.out(ctx)
		}
	}
	if err != nil {
		c.abandon(ctx, runs)
	}
	return out, err
}

// startOn returns the runs that were started and, with an error, also those that
// may have been.
func (c *call) startOn(ctx context.Context, j job, req *pb.TaskRequest, out *runOut) ([]*watched, error) {
	if j.to.All {
		return c.startAll(ctx, j, req, out)
	}
	run, err := c.server.client.Start(ctx, j.to, req)
	switch {
	case err == nil:
		return []*watched{newWatched(run)}, nil
	case ctx.Err() != nil:
		return []*watched{{place: place{run: j.id}}}, err
	}
	return nil, err
}

func newWatched(run *pb.Run) *watched { return &watched{place: place{run: run.GetId()}, record: run} }

func (c *call) sayStarted(ctx context.Context, runs []*watched) {
	names := make([]string, 0, len(runs))
	for _, r := range runs {
		names = append(names, r.record.GetRunner())
	}
	c.say(ctx, clip.Short("started on "+strings.Join(names, ", "), 500))
}

// startAll starts a task on every runner that is meant. One whose answer was lost
// may have it all the same.
func (c *call) startAll(ctx context.Context, j job, req *pb.TaskRequest, out *runOut) ([]*watched, error) {
	var asked, runs []*watched
	opts := client.FanOptions{Limit: j.limit, Expected: func(names []string) {
		for _, name := range names {
			asked = append(asked, &watched{place: place{run: j.id + "-" + name}})
		}
	}}
	all, err := client.Collect(client.FanOut(ctx, c.server.client, client.TaskOf(j.to, req), opts))
	if err != nil {
		return asked, err
	}
	for _, name := range slices.Sorted(maps.Keys(all.Answers)) {
		if run := all.Answers[name].Message.GetRun(); run != nil && all.Answers[name].Err == nil {
			runs = append(runs, newWatched(run))
		}
	}
	for _, name := range all.Missing {
		if run, err := c.server.client.Status(ctx, j.id+"-"+name); err == nil {
			runs = append(runs, newWatched(run))
		} else {
			out.Missing = append(out.Missing, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all.Errors)) {
		if !slices.Contains(all.Missing, name) {
			out.Failed = append(out.Failed, hostError{name, clip.Short(all.Errors[name].Error(), maxError)})
		}
	}
	out.Skipped = len(all.Skipped)
	out.Summary = fmt.Sprintf("nobody has started it: %d refused, %d missing, %d skipped", len(out.Failed), len(out.Missing), out.Skipped)
	switch {
	case len(runs) == 0 && len(out.Failed)+len(out.Missing) == 0:
		return nil, client.ErrNoMatch
	case len(runs) > maxRuns:
		return runs, fmt.Errorf("cannot follow %d runs at once, %d at most: use limit", len(runs), maxRuns)
	}
	return runs, ctx.Err()
}

// abandonTime is how long runs have to be told of their end.
const abandonTime = 5 * time.Second

// abandon ends runs whose caller has gone away or will never know of them.
func (c *call) abandon(ctx context.Context, runs []*watched) {
	if len(runs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	ids := make([]string, 0, len(runs))
	for _, r := range runs {
		ids = append(ids, r.place.run)
	}
	err := c.server.client.AbortAll(ctx, ids)
	c.server.log.Info("an agent's call was cut off: its runs are aborted", "runs", len(ids), "first", ids[0], "error", err)
}

type abortIn struct {
	Runs        []string `json:"runs" jsonschema:"ids of runs"`
	WaitSeconds int      `json:"wait_seconds,omitempty" jsonschema:"how long to wait for each to end, 0 to 30; default 2"`
}

type abortOut struct {
	Runs []abortResult `json:"runs"`
}

type abortResult struct {
	Run      string `json:"run"`
	Runner   string `json:"runner,omitempty"`
	State    string `json:"state,omitempty" jsonschema:"ABORTED, or how it had ended before"`
	Aborting bool   `json:"aborting,omitempty" jsonschema:"it has been asked to end and takes longer"`
	Error    string `json:"error,omitempty"`
}

// doAbort is the tool abort.
func doAbort(ctx context.Context, c *call, in abortIn) (out abortOut, err error) {
	if in.WaitSeconds == 0 {
		in.WaitSeconds = 2
	}
	switch {
	case len(in.Runs) == 0:
		return out, errors.New("cannot abort: name runs")
	case len(in.Runs) > maxRuns:
		return out, fmt.Errorf("cannot abort %d runs at once: %d at most", len(in.Runs), maxRuns)
	case in.WaitSeconds < 0 || in.WaitSeconds > 30:
		return out, fmt.Errorf("cannot use wait_seconds %d: it is 0 to 30", in.WaitSeconds)
	}
	if len(in.Runs) > 1 {
		_ = c.server.client.AbortAll(ctx, in.Runs) // all at once; each says below what went wrong
	}
	for _, id := range in.Runs {
		run, err := c.server.client.Abort(ctx, id, time.Duration(in.WaitSeconds)*time.Second)
		if err != nil {
			out.Runs = append(out.Runs, abortResult{Run: id, Error: clip.Short(err.Error(), maxError)})
			continue
		}
		out.Runs = append(out.Runs, abortResult{Run: id, Runner: run.GetRunner(), State: run.GetState().String(), Aborting: run.GetAborting()})
	}
	if len(in.Runs) == 1 && out.Runs[0].Error != "" {
		return out, errors.New(out.Runs[0].Error)
	}
	return out, ctx.Err()
}
