package client

import (
	"context"
	"slices"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/subjects"
)

// Outcome is how one run of a fan-out went.
type Outcome struct {
	Run *pb.Run
	// Log is what following it found; Log.End says how the run ended.
	Log logs.FollowResult
	// Err: its end could not be seen.
	Err error
}

// AllResult is a fan-out of runs: who took one, and how each ended.
type AllResult struct {
	FanResult
	// Group is the id that the runs share.
	Group string
	// Outcomes by runner.
	Outcomes map[string]Outcome
}

// RunEvents are told what happens in a fan-out of runs, one call at a time.
type RunEvents struct {
	// Accepted: a runner has taken its run.
	Accepted func(*pb.Run)
	// Record of a runner's output, in its order, the last one included.
	Record func(runner string, r lines.Record)
	// Ended: a run's end is known.
	Ended func(runner string, o Outcome)
}

// RunAll starts the task on every runner that is meant, one run each with one
// group id, and follows them all to their ends.
func (c *Client) RunAll(ctx context.Context, t Target, req *pb.TaskRequest, opts FanOptions, events RunEvents) (*AllResult, error) {
	req = withID(req)
	t.All = true
	a := &all{c: c, ctx: ctx, events: events, fresh: map[string]*logs.Fresh{}}
	a.result.Group = req.GetMetadata().GetId()
	a.result.Outcomes = map[string]Outcome{}
	defer a.unsubscribe()

	expected, each := opts.Expected, opts.Each
	opts.Expected = func(names []string) {
		a.subscribe(names)
		if expected != nil {
			expected(names)
		}
	}
	opts.Each = func(answer Answer) {
		a.answered(answer)
		if each != nil {
			each(answer)
		}
	}
	opts.settled = a.follows.Wait
	fan, err := c.FanOut(ctx, subjects.Task, t, req, blankTask, opts)
	if err == nil {
		a.result.FanResult = *fan
		a.findMissing()
	}
	a.follows.Wait()
	if err != nil {
		return nil, err
	}
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
		fresh, err := logs.Listen(a.c.nc, a.c.space.Log(name, a.runID(name)))
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

func (a *all) answered(answer Answer) {
	reply, ok := answer.Reply.(*pb.TaskReply)
	if !ok || answer.Err != nil || reply.GetRun() == nil {
		return
	}
	a.follow(reply.GetRun())
}

func (a *all) follow(run *pb.Run) {
	runner := run.GetRunner()
	fresh := a.fresh[runner]
	delete(a.fresh, runner) // Follow ends it
	a.mu.Lock()
	if a.events.Accepted != nil {
		a.events.Accepted(run)
	}
	a.mu.Unlock()
	a.follows.Go(func() {
		log, err := a.c.follow(a.ctx, run, FollowOptions{Live: true}, fresh, func(r lines.Record) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.events.Record != nil {
				a.events.Record(runner, r)
			}
			return nil
		})
		a.mu.Lock()
		defer a.mu.Unlock()
		a.result.Outcomes[runner] = Outcome{Run: run, Log: log, Err: err}
		if a.events.Ended != nil {
			a.events.Ended(runner, a.result.Outcomes[runner])
		}
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
		a.result.OK = append(a.result.OK, name)
		a.follow(run)
	}
	a.result.Missing = missing
	slices.Sort(a.result.OK)
}

// AbortAll ends many runs at once and returns when each has been asked.
func (c *Client) AbortAll(ctx context.Context, ids []string) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	gate := make(chan struct{}, 64)
	for _, id := range ids {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if _, err := c.Abort(ctx, id, 0); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	return first
}
