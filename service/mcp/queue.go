package mcp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp/clip"
)

func (s *Server) addQueue() {
	add(s, tool{
		name: "get_queue", title: "Look at the queue", need: NeedRead,
		about: "The durable queue: how much waits and runs in each pool, what is paused, which work waits and why, and which has failed.",
	}, doGetQueue)
	add(s, tool{
		name: "queue_command", title: "Queue a command", need: NeedRun, changes: true, destroys: true,
		about: "Store a command in the durable queue, for a runner of a pool that has a place, now or later. It is not waited for: follow takes its id.",
	}, doQueueCommand)
	add(s, tool{
		name: "change_queue", title: "Change the queue", need: NeedRun, changes: true, destroys: true,
		about: "Pause or resume a pool's queue, purge it of all that waits, remove one piece of work that waits, or try failed work again.",
	}, doChangeQueue)
}

type getQueueIn struct {
	Pool  string `json:"pool,omitempty" jsonschema:"only this one's"`
	Limit int    `json:"limit,omitempty" jsonschema:"list at most so much work, 1 to 100; default 20"`
}

type queueLine struct {
	Pool          string `json:"pool"`
	Priority      string `json:"priority"`
	Waiting       int64  `json:"waiting"`
	Running       int64  `json:"running"`
	OldestSeconds int64  `json:"oldest_seconds"`
	Paused        bool   `json:"paused,omitempty"`
	PausedBy      string `json:"paused_by,omitempty"`
}

type queuedWork struct {
	Work     string `json:"work" jsonschema:"its id"`
	Attempt  int32  `json:"attempt"`
	State    string `json:"state"`
	Pool     string `json:"pool"`
	Priority string `json:"priority"`
	Name     string `json:"name,omitempty"`
	Why      string `json:"why" jsonschema:"why it waits, or how it has failed"`
	Accepted string `json:"accepted"`
}

type getQueueOut struct {
	Lines   []queueLine  `json:"lines"`
	Waiting []queuedWork `json:"waiting" jsonschema:"oldest first"`
	Failed  []queuedWork `json:"failed" jsonschema:"newest first; change_queue can try it again"`
	Cut     string       `json:"cut,omitempty" jsonschema:"what was left out"`
}

// maxLines bounds the pools that are listed.
const maxLines = 200

// doGetQueue is the tool get_queue.
func doGetQueue(ctx context.Context, c *call, in getQueueIn) (out getQueueOut, err error) {
	limit, err := listLimit(in.Limit)
	if err != nil {
		return out, err
	}
	out = getQueueOut{Lines: []queueLine{}, Waiting: []queuedWork{}, Failed: []queuedWork{}}
	lines, err := c.server.client.Queue(ctx)
	if err != nil {
		return out, err
	}
	for _, l := range firstOf(lines, maxLines) {
		if in.Pool == "" || l.Pool == in.Pool {
			out.Lines = append(out.Lines, queueLine{l.Pool, l.Priority, l.Waiting, l.Running, int64(l.OldestSeconds), l.Paused, clip.Short(l.PausedBy, 100)})
		}
	}
	waiting, next, err := c.server.client.WaitingPage(ctx, client.WaitingOptions{Pool: in.Pool, Limit: limit})
	if err != nil {
		return out, err
	}
	for _, run := range waiting {
		out.Waiting = append(out.Waiting, workOf(run, run.GetQueued().GetWhy()))
	}
	failed, err := c.server.client.FailedWork(ctx)
	for _, run := range failed {
		if len(out.Failed) < limit && (in.Pool == "" || run.GetQueued().GetPool() == in.Pool) {
			out.Failed = append(out.Failed, workOf(run, howFailed(run)))
		}
	}
	if next != "" || len(failed) > limit || len(lines) > maxLines {
		out.Cut = "more work than the limit"
	}
	return out, err
}

func workOf(run *pb.Run, why string) queuedWork {
	q := run.GetQueued()
	return queuedWork{run.GetGroup(), run.GetAttempt(), run.GetState().String(), q.GetPool(), q.GetPriority(), clip.Short(run.GetName(), 100), clip.Short(why, 300), timeText(q.GetAccepted())}
}

func howFailed(run *pb.Run) string {
	switch {
	case run.GetError() != "":
		return run.GetError()
	case run.GetReason() == pb.ReasonExit:
		return fmt.Sprintf("exit code %d", run.GetExitCode())
	}
	return run.GetReason()
}

// Program is a command for later.
type Program struct {
	Command        string            `json:"command,omitempty" jsonschema:"the text of a shell (bash -c); give this or argv"`
	Argv           []string          `json:"argv,omitempty" jsonschema:"a program and its exact arguments, without a shell"`
	Stdin          string            `json:"stdin,omitempty" jsonschema:"its standard input"`
	Env            map[string]string `json:"env,omitempty" jsonschema:"its environment"`
	Dir            string            `json:"dir,omitempty" jsonschema:"its working directory; @run is an empty one that goes with the run"`
	As             string            `json:"as,omitempty" jsonschema:"the account to run as"`
	TimeoutSeconds int               `json:"timeout_seconds,omitempty" jsonschema:"end it after so long; default: never"`
	Title          string            `json:"title,omitempty" jsonschema:"a name for people"`
	Tags           map[string]string `json:"tags,omitempty" jsonschema:"tags of its record, to find it by"`
	Retries        int               `json:"retries,omitempty" jsonschema:"try it so often more, if it fails"`
}

// causes are what a command is tried again after.
var causes = []any{"lost", "exit", "signal", "timeout", "oom"}

func (p Program) task() (*pb.Task, error) {
	task := &pb.Task{Argv: p.Argv, Dir: p.Dir, User: p.As, Name: p.Title, Tags: maps.Clone(p.Tags), Stdin: []byte(p.Stdin)}
	if (p.Command == "") == (len(p.Argv) == 0) {
		return nil, errors.New("cannot run this: give either a command or argv")
	}
	if p.Command != "" {
		task.Commands = []string{p.Command}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		task.Params = append(task.Params, &pb.Param{Name: name, Value: p.Env[name]})
	}
	if p.Retries != 0 {
		retries, err := structpb.NewValue(map[string]any{"max": p.Retries, "on": causes})
		if err != nil {
			return nil, err
		}
		task.Retries = retries
	}
	var err error
	task.Timeout, err = seconds(p.TimeoutSeconds)
	return task, err
}

type queueCommandIn struct {
	Program
	ID             string `json:"id,omitempty" jsonschema:"an id of your own: the same call again never queues it twice"`
	Pool           string `json:"pool,omitempty" jsonschema:"whose runners may take it; default: default"`
	Priority       string `json:"priority,omitempty" jsonschema:"high, normal or low"`
	DelaySeconds   int    `json:"delay_seconds,omitempty" jsonschema:"start it after so long at the earliest"`
	ExpiresSeconds int    `json:"expires_seconds,omitempty" jsonschema:"give it up if nothing has started it by then"`
	Key            string `json:"concurrency_key,omitempty" jsonschema:"run nothing else with this key meanwhile, in the whole fleet"`
}

type workID struct {
	Work string `json:"work" jsonschema:"its id, for follow, get_run and change_queue"`
}

// doQueueCommand is the tool queue_command.
func doQueueCommand(ctx context.Context, c *call, in queueCommandIn) (out workID, err error) {
	task, err := in.task()
	if err != nil {
		return out, err
	}
	if task.Delay, err = seconds(in.DelaySeconds); err != nil {
		return out, err
	}
	if task.Expires, err = seconds(in.ExpiresSeconds); err != nil {
		return out, err
	}
	if in.Key != "" {
		task.Concurrency = &pb.Concurrency{Key: in.Key, Max: 1}
	}
	if in.ID == "" {
		in.ID = ulid.Make().String()
	}
	c.claim(ctx, task)
	req := &pb.TaskRequest{ApiVersion: pb.APIVersion, Kind: pb.Kind, Metadata: &pb.Metadata{Name: in.Title, Id: in.ID}, Spec: &pb.TaskSpec{Task: task}}
	out.Work, err = c.server.client.Enqueue(ctx, client.Work{Pool: in.Pool, Priority: in.Priority, Task: req})
	return out, err
}

// claim keeps with a task who asked for it.
func (c *call) claim(ctx context.Context, task *pb.Task) {
	user := c.server.user(ctx)
	if user == "" {
		return
	}
	if task.Tags == nil {
		task.Tags = map[string]string{}
	}
	task.Tags["user"] = user
}

type changeQueueIn struct {
	Action string `json:"action" jsonschema:"pause, resume or purge a pool; remove or retry work"`
	Pool   string `json:"pool,omitempty" jsonschema:"with pause, resume and purge"`
	Work   string `json:"work,omitempty" jsonschema:"with remove and retry: its id"`
}

type changeQueueOut struct {
	Done        string   `json:"done"`
	Unconfirmed []string `json:"unconfirmed,omitempty" jsonschema:"runners that have not said that they know"`
}

// doChangeQueue is the tool change_queue.
func doChangeQueue(ctx context.Context, c *call, in changeQueueIn) (out changeQueueOut, err error) {
	asked := c.server.client
	switch {
	case (in.Action == "pause" || in.Action == "resume" || in.Action == "purge") && in.Pool == "":
		return out, fmt.Errorf("cannot %s: pool is missing", in.Action)
	case (in.Action == "remove" || in.Action == "retry") && in.Work == "":
		return out, fmt.Errorf("cannot %s: work is missing", in.Action)
	}
	switch in.Action {
	case "pause":
		err, out.Done = asked.Pause(ctx, in.Pool, c.server.user(ctx)), "pool "+in.Pool+" is paused"
	case "resume":
		err, out.Done = asked.Resume(ctx, in.Pool), "pool "+in.Pool+" is resumed"
	case "purge":
		var n int
		n, err = asked.Purge(ctx, in.Pool)
		out.Done = fmt.Sprintf("%d removed", n)
	case "remove":
		_, err = asked.Dequeue(ctx, in.Work)
		out.Done = in.Work + " is removed"
	case "retry":
		var attempt string
		attempt, err = asked.Retry(ctx, in.Work)
		out.Done = "queued again as " + attempt
	default:
		return out, fmt.Errorf("cannot use action %q: it is pause, resume, purge, remove or retry", clip.Short(in.Action, 100))
	}
	if e := (*client.UnconfirmedError)(nil); errors.As(err, &e) {
		out.Unconfirmed, err = e.Runners, nil
	}
	return out, err
}

// timeOf reads a time of an argument.
func timeOf(name, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s %q: it is a time such as 2006-01-02T15:04:05Z", name, clip.Short(text, 100))
	}
	return &at, nil
}
