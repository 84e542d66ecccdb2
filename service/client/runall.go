package client

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/subjects"
)

// RunAllOptions of a fan-out of runs.
type RunAllOptions struct {
	FanOptions
	RunEvents
}

// AllResult is a fan-out of runs: who took one, and how each ended.
type AllResult struct {
	FanLists
	// Group is the id that the runs share.
	Group string
	// Outcomes by runner.
	Outcomes map[string]Outcome
}

// RunAll starts the task on every runner that is meant, one run each with one
// group id, and follows them all to their ends.
func (c *Client) RunAll(ctx context.Context, t Target, req *pb.TaskRequest, opts RunAllOptions) (*AllResult, error) {
	req = withID(req)
	a := &all{c: c, ctx: ctx, events: opts.RunEvents, fresh: map[string]*logs.Fresh{}}
	a.result.Group = req.GetMetadata().GetId()
	a.result.Outcomes = map[string]Outcome{}
	defer a.unsubscribe()

	expected := opts.Expected
	opts.Expected = func(names []string) {
		a.subscribe(names)
		if expected != nil {
			expected(names)
		}
	}
	f := &fanOut{
		c: c, verb: subjects.Task, target: t, opts: opts.FanOptions, settled: a.follows.Wait,
		blank: func() pb.Message { return &pb.TaskReply{} },
		each:  a.answered,
	}
	err := f.do(ctx, req)
	var few *tooFewError
	if errors.As(err, &few) {
		a.result.Short, err = few.short, nil
	}
	if err == nil {
		a.findMissing()
	}
	a.follows.Wait()
	if err != nil {
		return nil, err
	}
	a.result.sort()
	return &a.result, nil
}

// all is one RunAll while it goes on.
type all struct {
	c       *Client
	ctx     context.Context
	events  RunEvents
	fresh   map[string]*logs.Fresh // by runner, opened before anybody was asked
	follows sync.WaitGroup

	mu     sync.Mutex // of result and events
	result AllResult
}

// subscribe listens to the logs that the runs will have, so that no line is
// missed and no consumer is needed.
func (a *all) subscribe(names []string) {
	for _, name := range names {
		fresh, err := logs.Listen(a.c.link.NC, a.c.link.Space.Log(name, a.runID(name)))
		if err != nil {
			return // the stream has it all as well
		}
		a.fresh[name] = fresh
	}
}

func (a *all) unsubscribe() {
	for _, fresh := range a.fresh {
		fresh.Close()
	}
}

func (a *all) runID(runner string) string { return a.result.Group + "-" + runner }

func (a *all) answered(answer answer) bool {
	a.mu.Lock()
	a.result.Add(answer.runner, answer.state, answer.err)
	a.mu.Unlock()
	if reply, ok := answer.message.(*pb.TaskReply); ok && answer.err == nil && reply.GetRun() != nil {
		a.follow(reply.GetRun())
	}
	return true
}

func (a *all) follow(run *pb.Run) {
	runner := run.GetRunner()
	fresh := a.fresh[runner]
	delete(a.fresh, runner) // Follow ends it
	a.mu.Lock()
	a.events.accepted(run)
	a.mu.Unlock()
	record := a.events.record(run)
	a.follows.Go(func() {
		log, err := a.c.Follow(a.ctx, run, FollowOptions{Live: true, fresh: fresh}, func(r lines.Record) error {
			if record == nil {
				return nil
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			return record(r)
		})
		outcome := Outcome{Run: run, Log: log, Err: err}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.result.Outcomes[runner] = outcome
		a.events.ended(outcome)
	})
}

// findMissing looks for runs whose runner took them, though its answer was lost.
func (a *all) findMissing() {
	var missing []string
	for _, name := range a.result.Missing {
		run, err := a.c.Status(a.ctx, a.runID(name))
		if err != nil {
			missing = append(missing, name)
			continue
		}
		a.mu.Lock()
		a.result.OK = append(a.result.OK, name)
		a.mu.Unlock()
		a.follow(run)
	}
	slices.Sort(missing)
	a.result.Missing = missing
}
