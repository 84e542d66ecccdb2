package attempt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/store"
)

// matching are the names of the runners that a task on all of them is for, by
// their cards.
func (a *Attempt) matching(ctx context.Context) (online, offline []string, err error) {
	on := a.Def.On
	var where *store.Where
	if on.Where != "" {
		if where, err = store.CompileWhere(string(on.Where)); err != nil {
			return nil, nil, err
		}
	}
	known, err := a.fleet.Client.Runners(ctx)
	for _, r := range known {
		if on.Pool != "" && !slices.Contains(r.Card.GetPools(), string(on.Pool)) {
			continue
		}
		if where != nil {
			if ok, err := where.Match(r.Card); err != nil || !ok {
				continue
			}
		}
		if r.Online {
			online = append(online, r.Card.GetName())
		} else {
			offline = append(offline, r.Card.GetName())
		}
	}
	slices.Sort(online)
	slices.Sort(offline)
	return online, offline, err
}

// all runs the task on every runner that matches, as one node. Which these are
// is written down before the first is asked, so that neither another attempt nor
// another engine asks others. A second attempt asks those of them on whom the
// ones before it did not end well.
func (a *Attempt) all(ctx context.Context, req *pb.TaskRequest) result {
	if err := a.fixSet(ctx); err != nil {
		switch {
		case ctx.Err() != nil:
			return result{ExitCode: exitLost, Text: context.Cause(ctx).Error()}
		case a.Aborted():
			return result{Canceled: true, ExitCode: exitAborted, Text: "aborted"}
		}
		return result{ExitCode: exitLost, Text: err.Error(), Cause: "lost"}
	}
	if a.Aborted() {
		return a.claimAll(ctx)
	}
	good := a.endedWell(ctx)
	only, missing := a.whom(good)
	options := client.RunAllOptions{}
	options.Only, options.Enough = only, a.Aborted
	if batch := string(a.Def.On.Batch); batch != "" {
		options.Batch, _ = definition.Share(batch, len(a.Task.GetAsked())) // checked with the definition
	}
	f := &fanOut{a: a}
	options.Accepted = f.accepted
	found, err := f.run(ctx, req, options)
	runs := append(f.runs, slices.Collect(maps.Values(good))...)
	slices.Sort(runs)
	r := result{Runs: runs, Runner: fmt.Sprintf("%d runners", len(runs))}
	switch {
	case a.Aborted():
		r.Canceled, r.Text, r.ExitCode = true, "aborted", exitAborted
	case err != nil:
		r.ExitCode, r.Text, r.Cause = exitLost, err.Error(), "lost"
	default:
		found.Missing = append(found.Missing, missing...)
		slices.Sort(found.Missing)
		r.fromAll(found)
	}
	return r
}

// fixSet decides whom the task is for, unless that is written already.
func (a *Attempt) fixSet(ctx context.Context) error {
	if len(a.Task.GetAsked()) > 0 {
		return nil
	}
	online, offline, err := a.waitForAll(ctx)
	if err != nil {
		return err
	}
	if limit := string(a.Def.On.Limit); limit != "" { // the first of those that are there: nobody is missing
		most, _ := definition.Share(limit, len(online)) // checked with the definition
		online, offline = online[:min(most, len(online))], nil
	}
	return a.Fix(online, offline)
}

// whom is who is asked now, and who is missing without being asked: a runner that
// was offline when the task started has its chance with the next attempt.
func (a *Attempt) whom(good map[string]string) (only, missing []string) {
	only, missing = slices.Clone(a.Task.GetAsked()), a.Task.GetMissing()
	if a.Task.GetAttempt() > 1 {
		only, missing = append(only, missing...), nil
	}
	only = slices.DeleteFunc(only, func(name string) bool { return good[name] != "" })
	slices.Sort(only)
	return only, missing
}

// waitForAll waits until a runner matches, for as long as a task may wait.
func (a *Attempt) waitForAll(ctx context.Context) (online, offline []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.fleet.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(stopContext(ctx, a.stopped), cancel)
	defer stop()
	for {
		online, offline, err = a.matching(ctx)
		switch {
		case err == nil && len(online) > 0:
			return online, offline, nil
		case ctx.Err() != nil && len(offline) > 0:
			return nil, nil, fmt.Errorf("missing: %s", strings.Join(offline, ", "))
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("no runner matches %s", a.describe())
		}
		a.fleet.waitForCards(ctx)
	}
}

// endedWell are the runs of earlier attempts that did, by runner.
func (a *Attempt) endedWell(ctx context.Context) map[string]string {
	good := map[string]string{}
	if a.Task.GetAttempt() < 2 {
		return good
	}
	for _, id := range a.Task.GetRuns() {
		// Its log may have ended a moment before its record is final.
		look, cancel := context.WithTimeout(ctx, lostLook)
		run, err := a.fleet.Store.Wait(look, id)
		cancel()
		if err == nil && run.GetState() == pb.State_COMPLETE && resultOf(run).Text == "" {
			good[run.GetRunner()] = id
		}
	}
	return good
}

// claimAll is claim for every runner that the task may have been asked of: none
// before it was written down who these are.
func (a *Attempt) claimAll(ctx context.Context) result {
	_ = AtOnce(slices.Concat(a.Task.GetAsked(), a.Task.GetMissing()), func(name string) error {
		one := &Attempt{fleet: a.fleet, job: a.job, Task: a.Task, Def: a.Def, id: a.id + "-" + name, stopped: a.stopped}
		var forget func()
		one.ended, forget = a.fleet.Ends.expect(one.id)
		defer forget()
		one.claim(ctx)
		return nil
	})
	return result{Canceled: true, ExitCode: exitAborted, Text: "aborted"}
}

// fanOut is the runs of one attempt on all.
type fanOut struct {
	a   *Attempt
	ctx context.Context

	mu   sync.Mutex
	runs []string
}

func (f *fanOut) run(ctx context.Context, req *pb.TaskRequest, options client.RunAllOptions) (*client.AllResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.ctx = ctx
	f.a.fleet.Go(func() {
		select {
		case <-f.a.stopped:
			f.mu.Lock()
			ids := slices.Clone(f.runs)
			f.mu.Unlock()
			f.abort(ids)
		case <-ctx.Done():
		}
	})
	return f.a.fleet.Client.RunAll(ctx, f.a.target(), req, options)
}

// accepted notes a run; one that is accepted after the attempt was aborted is
// aborted at once.
func (f *fanOut) accepted(run *pb.Run) {
	f.mu.Lock()
	f.runs = append(f.runs, run.GetId())
	f.mu.Unlock()
	if f.a.Aborted() {
		f.a.fleet.Go(func() { f.abort([]string{run.GetId()}) })
	}
}

func (f *fanOut) abort(ids []string) {
	_ = AtOnce(ids, func(id string) error {
		f.a.abortRun(f.ctx, id, nil)
		return nil
	})
}

// fromAll gives a fan-out the exit codes of runnel run --all.
func (r *result) fromAll(found *client.AllResult) {
	var bad []string
	for runner, o := range found.Outcomes {
		if !o.OK() {
			bad = append(bad, runner)
		}
	}
	slices.Sort(bad)
	switch {
	case len(found.Missing) > 0 || found.Short > 0:
		r.ExitCode, r.Cause, r.Text = exitLost, "lost", "missing: "+strings.Join(found.Missing, ", ")
	case len(bad)+len(found.Failed) > 0:
		r.ExitCode, r.Cause, r.Text = 1, "exit", "failed on "+strings.Join(append(bad, found.Failed...), ", ")
	}
}
