package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/fan"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// fanOut is one fan-out before the type of its replies is known.
type fanOut struct {
	c      *Client
	verb   subjects.Verb
	target Target
	opts   FanOptions
	blank  func() pb.Message
	// each is given every runner's part; false ends the fan-out.
	each func(answer) bool
	// settled, if set, is waited for before the next batch is asked.
	settled func()

	body     []byte
	oneByOne bool
	group    string   // of a fan-out of runs
	starting []string // of those that match
}

// answer is one runner's part, before its type is known.
type answer struct {
	runner  string
	state   ReplyState
	message pb.Message
	err     error
	asked   time.Time
	elapsed time.Duration
}

// do asks everybody and returns when each has been given to f.each.
func (f *fanOut) do(ctx context.Context, req pb.Request) error {
	names, skipped, err := f.plan(ctx, req)
	if err != nil {
		return err
	}
	if f.opts.Expected != nil {
		f.opts.Expected(names)
	}
	asked := &fan.Fan{
		Link: f.c.link, Verb: f.verb, Scope: f.target.scope(), Where: f.target.Where, Body: f.body, OneByOne: f.oneByOne, Group: f.group, Starting: f.starting,
		Timeout: f.opts.Timeout, Batch: f.opts.Batch, Expect: f.opts.Expect, Settled: f.settled, Enough: f.opts.Enough,
		Each: func(p fan.Part) bool { return f.each(f.read(p)) },
	}
	if err := asked.Run(ctx, names); err != nil {
		return err
	}
	for _, name := range skipped {
		if !asked.Seen(name) && !f.each(answer{runner: name, state: ReplySkipped}) {
			return fan.ErrLeft
		}
	}
	if short := asked.Short(); short > 0 {
		return &tooFewError{short, f.opts.Expect}
	}
	return nil
}

// read says how a runner took part, and what it answered.
func (f *fanOut) read(p fan.Part) answer {
	a := answer{runner: p.Runner, asked: p.Asked, elapsed: p.Elapsed}
	switch {
	case p.Missing != nil:
		a.state, a.err = ReplyMissing, p.Missing
		return a
	case p.Skipped:
		a.state = ReplySkipped
		return a
	}
	a.message = f.blank()
	a.err = f.c.link.Decode(p.Reply, a.message)
	switch {
	case !p.Expected:
		a.state = ReplyUnexpected
	case a.err != nil:
		a.state = ReplyFailed
	default:
		a.state = ReplyOK
	}
	if f.opts.Answered != nil {
		f.opts.Answered(a.runner)
	}
	return a
}

// plan says who is asked and who is left out.
func (f *fanOut) plan(ctx context.Context, req pb.Request) (names, skipped []string, err error) {
	switch {
	case f.opts.Batch < 0:
		return nil, nil, fmt.Errorf("cannot use batch %d: it must be 1 or more", f.opts.Batch)
	case f.opts.Expect < 0:
		return nil, nil, fmt.Errorf("cannot expect %d answers", f.opts.Expect)
	}
	if err := f.target.Validate(); err != nil {
		return nil, nil, err
	}
	f.target.All = f.target.On == ""
	if f.body, err = link.Encode(req); err != nil {
		return nil, nil, err
	}
	if f.verb == subjects.Task {
		f.group = req.GetMetadata().GetId()
	}
	if f.opts.Only != nil {
		f.oneByOne = true
		return f.opts.Only, nil, nil
	}
	in, out, err := f.c.link.Match(ctx, f.target.wanted())
	if err != nil {
		return nil, nil, err
	}
	names, skipped = runnerNames(in), runnerNames(out)
	f.starting = runnerNames(slices.DeleteFunc(in, func(r Runner) bool { return r.Card.GetState() != store.StateInitialising }))
	if names, err = fan.Limit(names, f.opts.Limit); err != nil {
		return nil, nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(f.opts.Except, name) })
	f.oneByOne = f.opts.Batch > 0 || f.opts.Limit != "" || len(f.opts.Except) > 0
	return names, skipped, nil
}

func runnerNames(runners []Runner) []string {
	var names []string
	for _, r := range runners {
		names = append(names, r.Card.GetName())
	}
	return names
}
