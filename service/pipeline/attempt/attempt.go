package attempt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/store"
)

// Exit codes of tasks that have none of their own, as runnel run has them.
const (
	exitTimeout = 124
	exitLost    = 125
	exitAborted = 130
)

// lostLook is how long the end of a run is waited for before the fleet is asked
// about it: whoever is asked finds out that its runner is gone, and ends it.
const lostLook = 20 * time.Second

// Attempt is one try at a task: it finds a runner, asks it, and waits for the end.
type Attempt struct {
	fleet *Fleet
	job   *Job
	Task  *pb.JobTask
	Def   *definition.Task
	id    string // the run's

	// Fix writes down for which runners a task on all of them is, in the record
	// and in Task, before the first of them is asked.
	Fix func(online, offline []string) error

	ended    <-chan *pb.Run // of the run
	stopped  chan struct{}  // closed by abort
	stopOnce sync.Once
	Result   result // once do has returned
}

// result is what became of an attempt. An empty text is a success.
type result struct {
	ExitCode int
	Text     string
	Cause    string // lost, exit, signal, timeout, oom: what retries are for
	Canceled bool   // the run was aborted
	Runner   string
	Runs     []string
}

// New makes an attempt at a task, whose record says which it is.
func New(f *Fleet, job *Job, task *pb.JobTask, def *definition.Task) *Attempt {
	return &Attempt{fleet: f, job: job, Task: task, Def: def, id: task.RunID(job.ID, task.GetAttempt()), stopped: make(chan struct{})}
}

// Abort ends the attempt: its run is aborted or, if it has not begun, never begins.
func (a *Attempt) Abort() { a.stopOnce.Do(func() { close(a.stopped) }) }

func (a *Attempt) Aborted() bool {
	select {
	case <-a.stopped:
		return true
	default:
		return false
	}
}

func (a *Attempt) Do(ctx context.Context) result {
	req, err := a.request()
	if err != nil {
		return result{ExitCode: exitLost, Text: err.Error()}
	}
	var forget func()
	a.ended, forget = a.fleet.Ends.expect(a.id)
	defer forget()
	onAll := a.Def.On != nil && bool(a.Def.On.All)
	switch ready := a.pauseUntil(ctx, asTime(a.Task.GetNotBefore())); {
	case !ready && onAll:
		return a.claimAll(ctx)
	case !ready:
		return a.claim(ctx)
	case onAll:
		return a.all(ctx, req)
	}
	run, err := a.start(ctx, req)
	switch {
	case err != nil && a.Aborted():
		return a.claim(ctx)
	case err != nil:
		return result{ExitCode: exitLost, Text: err.Error(), Cause: "lost"}
	}
	return a.await(ctx, run)
}

// pauseUntil waits, and says false when the attempt is aborted meanwhile.
func (a *Attempt) pauseUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return !a.Aborted()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.stopped:
		return false
	case <-ctx.Done():
		return false
	}
}

// target is whom the task is for.
func (a *Attempt) target() client.Target {
	if a.Def.On == nil {
		return client.Target{On: a.job.Input.Runner}
	}
	on := a.Def.On
	return client.Target{On: string(on.Runner), Pool: string(on.Pool), Where: string(on.Where), All: bool(on.All)}
}

// start asks until a runner has taken the run, for as long as a task may wait
// for one. Asking again is harmless: the run's id is the task's.
func (a *Attempt) start(ctx context.Context, req *pb.TaskRequest) (*pb.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, a.fleet.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(stopContext(ctx, a.stopped), cancel)
	defer stop()
	for {
		run, err := a.fleet.Client.Start(ctx, a.target(), req)
		switch {
		case err == nil:
			return run, nil
		case errors.Is(err, client.ErrConflict):
			// Of an engine of another version: the run is this task's all the same.
			return a.fleet.Client.Status(ctx, a.id)
		case !waitsForRunner(err):
			return nil, err
		case ctx.Err() != nil:
			return nil, a.noRunner(err)
		}
		if a.fleet.waitForCards(ctx); ctx.Err() != nil {
			return nil, a.noRunner(err)
		}
	}
}

// stopContext ends with ctx or when stopped is closed.
func stopContext(ctx context.Context, stopped <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-stopped:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// waitsForRunner says whether another runner, or the same one later, may take
// what was not taken now.
func waitsForRunner(err error) bool {
	for _, passing := range []error{
		client.ErrNoRunners, client.ErrNoMatch, client.ErrOffline, client.ErrNoAnswer, client.ErrFull, client.ErrBusy, client.ErrDraining, client.ErrTooLate,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return client.Code(err) == 0 && !errors.Is(err, client.ErrInvalid) || client.Code(err) >= 500
}

// noRunner says why a task was not taken by anybody in time.
func (a *Attempt) noRunner(last error) error {
	if errors.Is(last, client.ErrNoRunners) || errors.Is(last, client.ErrNoMatch) || errors.Is(last, client.ErrOffline) {
		return fmt.Errorf("no runner matches %s", a.describe())
	}
	return fmt.Errorf("no runner has taken it in %s: %w", a.fleet.StartTimeout, last)
}

// describe says whom the task is for.
func (a *Attempt) describe() string {
	target := a.target()
	var parts []string
	for _, p := range []struct{ name, value string }{{"runner", target.On}, {"pool", target.Pool}, {"where", target.Where}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if len(parts) == 0 {
		return "any"
	}
	return strings.Join(parts, ", ")
}

// claim makes sure that a run which was not accepted never starts: an engine
// that believes it still leads may ask for it later.
func (a *Attempt) claim(ctx context.Context) result {
	at := timestamppb.Now()
	run := &pb.Run{
		Id: a.id, Name: a.Task.GetName(), State: pb.State_ABORTED, Reason: "aborted", Error: "its job was cancelled before it started",
		Tags: a.tags(), Created: at, Ended: at, LogComplete: true, Attempt: 1,
	}
	for ctx.Err() == nil { // it must be known: an engine that was stopped may ask at any time
		_, err := a.fleet.Store.Create(ctx, run)
		if err == nil {
			break
		}
		if errors.Is(err, store.ErrExists) { // it did start
			if found, _, err := a.fleet.Store.Get(ctx, a.id); err == nil {
				return a.await(ctx, found)
			}
		}
		a.fleet.pause(ctx, time.Second)
	}
	return result{Canceled: true, ExitCode: exitAborted, Text: "aborted"}
}

// await returns how a run ended. It is aborted meanwhile if the attempt is.
func (a *Attempt) await(ctx context.Context, run *pb.Run) result {
	id := run.GetId()
	if store.Final(run.GetState()) {
		return resultOf(run)
	}
	done := make(chan struct{})
	defer close(done)
	a.fleet.Go(func() {
		select {
		case <-a.stopped:
			a.abortRun(ctx, id, done)
		case <-done:
		case <-ctx.Done():
		}
	})
	return a.waitForEnd(ctx, id)
}

// waitForEnd hears of the end of a run, and asks the fleet about one that lasts:
// whoever is asked ends the runs of a runner that is gone.
func (a *Attempt) waitForEnd(ctx context.Context, id string) result {
	look := time.NewTicker(lostLook)
	defer look.Stop()
	for {
		select {
		case run := <-a.ended:
			if run != nil {
				return resultOf(run)
			}
		case <-look.C:
		case <-ctx.Done():
			return result{ExitCode: exitLost, Text: context.Cause(ctx).Error()}
		}
		_, _ = a.fleet.Client.Query(ctx, &pb.Query{Runs: []string{id}}) // for what it does to lost runs
		run, _, err := a.fleet.Store.Get(ctx, id)
		switch {
		case err == nil && store.Final(run.GetState()):
			return resultOf(run)
		case errors.Is(err, store.ErrUnknownRun):
			// A record that is being written over is nowhere for a moment.
			if _, err := a.fleet.Client.Status(ctx, id); err == nil {
				continue
			}
			return result{ExitCode: exitLost, Text: "the run's record was removed", Cause: "lost", Runs: []string{id}}
		}
	}
}

// abortRun asks until the run's end is known.
func (a *Attempt) abortRun(ctx context.Context, id string, done <-chan struct{}) {
	for ctx.Err() == nil {
		_, err := a.fleet.Client.Abort(ctx, id, 0)
		wait := time.Second
		if err == nil {
			wait = lostLook
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-done:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// resultOf is what a run's record means for its task.
func resultOf(run *pb.Run) result {
	r := result{ExitCode: int(run.GetExitCode()), Runner: run.GetRunner(), Runs: []string{run.GetId()}}
	switch run.GetState() {
	case pb.State_COMPLETE:
		r.ended(run)
	case pb.State_TIMEDOUT:
		r.Cause, r.Text, r.ExitCode = "timeout", "timed out", exitTimeout
	case pb.State_ABORTED:
		r.Text, r.Canceled, r.ExitCode = "aborted", true, 130
	default:
		r.Text, r.ExitCode = run.GetError(), exitLost
		if run.GetReason() == "lost" {
			r.Cause = "lost"
		}
		if r.Text == "" {
			r.Text = strings.TrimSpace(run.GetState().String() + " " + run.GetReason())
		}
	}
	if r.Text != "" && r.ExitCode == 0 {
		r.ExitCode = exitLost
	}
	return r
}

// exitSignal is added to a signal's number, as shells do.
const exitSignal = 128

// ended is for a run that nobody stopped: its own code, or one that tells of what
// ended it.
func (r *result) ended(run *pb.Run) {
	switch {
	case run.GetSignal() != "":
		r.Cause, r.Text, r.ExitCode = "signal", "killed by "+run.GetSignal(), exitSignal+lines.SignalNumber(run.GetSignal())
	case run.GetExitCode() != 0:
		r.Cause, r.Text = "exit", fmt.Sprintf("exit status %d", run.GetExitCode())
	}
	switch run.GetReason() {
	case pb.ReasonOOM:
		r.Cause, r.Text = "oom", "out of memory"
	case pb.ReasonOutputLimit:
		r.Text = "more output than its limit"
	case pb.ReasonCPULimit:
		r.Text = "more processor time than its limit"
	}
	if r.Text != "" && r.ExitCode == 0 { // it saw its end coming, and left before it could be killed
		r.Cause, r.ExitCode = cmp.Or(r.Cause, "exit"), exitSignal+lines.SignalNumber("SIGKILL")
	}
}

func asTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
