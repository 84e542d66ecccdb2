package run

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
)

// A cause ends a run from outside. The first one named is the one that counts.
type cause struct {
	state  pb.State
	reason string
	// gently: SIGTERM and the grace first; else SIGKILL at once.
	gently bool
	// text is the record's error, where the reason does not say it all.
	text string
}

var (
	causeAborted     = &cause{pb.State_ABORTED, pb.ReasonAborted, true, ""}
	causeTimeout     = &cause{pb.State_TIMEDOUT, pb.ReasonTimeout, true, ""}
	causeWallTime    = &cause{pb.State_TIMEDOUT, pb.ReasonTimeout, false, ""}
	causeExpired     = &cause{pb.State_FAILED, pb.ReasonExpired, true, ""}
	causeOutputLimit = &cause{pb.State_COMPLETE, pb.ReasonOutputLimit, false, ""}
	// causeUnconfirmed: whoever asked was told that it could not be recorded, so
	// it must not start.
	causeUnconfirmed = &cause{pb.State_FAILED, pb.ReasonRejected, false, "NATS has recorded it too late"}
	// causeStopped: the runner ends at once.
	causeStopped = &cause{pb.State_ABORTED, pb.ReasonAborted, false, "the runner was stopped"}
	// causeFenced: somebody else has ended the run's log or record.
	causeFenced = &cause{pb.State_FAILED, pb.ReasonLost, false, ""}
)

// active is one run here. The goroutine in life owns it; mu guards what others see.
type active struct {
	r       *Runner
	id      string
	task    *pb.Task
	terms   terms
	trace   string // the request's W3C trace context
	ticket  *ticket
	turn    func(context.Context) // of Submission
	claimed chan struct{}         // closed when the record was created, or wasn't
	over    chan struct{}         // closed when its processes are gone and only the records are left to write
	done    chan struct{}         // closed when the life is over
	rev     uint64                // of the record; life's alone
	early   chan start            // of the main process, unless it is prepared later; life's alone

	mu    sync.Mutex
	run   *pb.Run // the record as NATS has it; replaced by life alone
	cause *cause
	hurry bool          // without grace
	ended chan struct{} // closed when a cause is named
	proc  *sandbox.Process
	log   *logs.Writer  // once the life has begun
	grace time.Duration // less than the terms say, once the runner is in a hurry
}

// newActive makes the record that a claim will store.
func (r *Runner) newActive(t *Ticket, s Submission) (*active, error) {
	task := s.Request.GetSpec().GetTask()
	terms, err := r.termsOf(task)
	if err != nil {
		return nil, err
	}
	return r.activeOf(t.t, s, terms), nil
}

func (r *Runner) activeOf(t *ticket, s Submission, terms terms) *active {
	task := s.Request.GetSpec().GetTask()
	id := r.idOf(s)
	if id == "" {
		id = newID()
	}
	now := timestamppb.Now()
	run := &pb.Run{
		Id: id, Runner: r.cfg.Name, Instance: r.cfg.Instance,
		Name: nameOf(s.Request), Tags: task.GetTags(), Group: s.Group,
		State: pb.State_PENDING, Attempt: 1, Created: now, Digest: s.Digest,
		LogStream: r.cfg.Space.LogStream(), LogSubject: r.cfg.Space.Log(r.cfg.Name, id),
		Traceparent: s.Traceparent, User: s.User,
	}
	if s.Queued != nil {
		run.Group, run.Attempt, run.Queued = s.work(), int32(s.Attempt), s.Queued
	}
	if m := s.Missed; m.Count > 0 {
		run.Missed, run.From, run.To = int64(m.Count), timestamppb.New(m.From), timestamppb.New(m.To)
	}
	if !s.HidesCommand {
		run.Command = commandOf(task)
	}
	a := &active{
		r: r, id: id, task: task, terms: terms, trace: s.Traceparent, ticket: t, turn: s.Turn, run: run,
		grace: terms.grace, claimed: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{}),
	}
	if a.hasSlot() && !a.mustWait() {
		run.State, run.Started = pb.State_RUNNING, now
	}
	return a
}

func nameOf(r *pb.TaskRequest) string {
	if name := r.GetSpec().GetTask().GetName(); name != "" {
		return name
	}
	return r.GetMetadata().GetName()
}

func (a *active) hasSlot() bool {
	select {
	case <-a.ticket.granted:
		return true
	default:
		return false
	}
}

// mustWait says that the run can't begin though it has a slot: its compiler's
// standard library is being compiled, which is the runner's work and not the run's.
func (a *active) mustWait() bool {
	return a.terms.program != nil && a.terms.isolation != sandbox.None && !a.terms.program.Language().IsWarm()
}

// snapshot is the record as others may have it.
func (a *active) snapshot() *pb.Run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return proto.CloneOf(a.run)
}

// end names a cause; it returns at once. When one is named already, it does no
// more than to take away the rest of a grace, if this one gives none.
func (a *active) end(c *cause) {
	log := a.name(c)
	if log != nil {
		log.Unblock() // what can't be stored must not hold up the end
	}
}

func (a *active) name(c *cause) *logs.Writer {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.cause == nil:
		a.cause = c
		a.run.Aborting = c == causeAborted
		close(a.ended)
	case !c.gently:
		a.hurry = true
	}
	a.signal()
	return a.log
}

// signal does to the process, if there is one yet, what the cause says. Callers hold mu.
func (a *active) signal() {
	switch {
	case a.proc == nil || a.cause == nil:
	case a.cause.gently && !a.hurry:
		a.proc.Terminate(a.grace)
	default:
		a.proc.Kill()
	}
}

// kill ends the run without any grace, also one that is being ended with some.
func (a *active) kill() { a.end(causeStopped) }

// hasten ends the run, and leaves it no more than this of its grace.
func (a *active) hasten(c *cause, grace time.Duration) {
	a.mu.Lock()
	a.grace = min(a.grace, grace)
	a.mu.Unlock()
	a.end(c)
}

func (a *active) named() *cause {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cause
}

// life: wait for a slot, run, finish.
func (a *active) life() {
	defer close(a.done)
	log := logs.Open(a.logConfig())
	a.mu.Lock()
	a.log = log
	a.mu.Unlock()
	// A log that waits for NATS must not keep the runner from stopping.
	defer context.AfterFunc(a.r.ctx, func() { log.Abandon(errStopped) })()
	if !a.waitForSlot(log) {
		return
	}
	defer a.after(a.terms.timeout, causeTimeout)()
	if a.terms.program == nil { // else it is a step's own
		defer a.after(a.terms.bounds.wallTime, causeWallTime)()
	}
	end := a.execute(log)
	if brokenDoubleStart {
		end = a.execute(log)
	}
	a.finish(end, log)
}

// after ends the run when it has lasted this long, unless that is 0 or undone.
func (a *active) after(d time.Duration, c *cause) (undo func() bool) {
	if d <= 0 {
		return func() bool { return true }
	}
	return time.AfterFunc(d, func() { a.end(c) }).Stop
}

// waitForSlot returns false if the run ended while it waited.
func (a *active) waitForSlot(log *logs.Writer) bool {
	if a.run.GetState() == pb.State_RUNNING {
		return true
	}
	a.awaitTurn()
	if a.terms.expires > 0 {
		timer := time.AfterFunc(a.terms.expires, func() { a.end(causeExpired) })
		defer timer.Stop()
	}
	waited := "a place"
	select {
	case <-a.ticket.granted:
		if a.mustWait() {
			language := a.terms.program.Language()
			waited = language.String() + ", whose standard library is being compiled,"
			language.AwaitWarm(a.ended)
		}
	case <-a.ended:
	}
	if c := a.named(); c != nil {
		end := endOf(sandbox.Status{}, c)
		if c == causeExpired {
			end.err = fmt.Sprintf("waited for %s for more than %s", waited, a.terms.expires)
		}
		a.finish(end, log)
		return false
	}
	// Not before NATS has it: who waited through a cut may have been declared lost.
	return a.write(func(run *pb.Run) {
		run.State, run.Started = pb.State_RUNNING, timestamppb.Now()
	})
}

// awaitTurn waits for what comes before a place, and takes the place.
func (a *active) awaitTurn() {
	if a.turn == nil {
		return
	}
	ctx, cancel := context.WithCancel(a.r.ctx)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-a.ended:
			cancel()
		case <-over:
		}
	}()
	a.turn(ctx)
	if a.named() == nil {
		a.r.enter(a.ticket)
	}
}

// fenced: the log or the record is somebody else's now.
func (a *active) fenced(err error) {
	a.r.log.Warn("run was taken from this runner and is killed here", "run", a.id, "runner", a.r.cfg.Name, "error", err)
	a.end(causeFenced)
}

func (a *active) logConfig() logs.Config {
	l := a.task.GetLog()
	cfg := a.r.logConfig(a.run)
	cfg.Lines = lines.Config{WidthRunes: clampInt(l.GetWidth()), Pack: clampInt(l.GetPack())}
	cfg.MaxBytes, cfg.Overflow, cfg.OnFenced = l.GetMaxBytes(), l.GetOverflow(), a.fenced
	return cfg
}

func clampInt(n int64) int { return int(min(max(n, 0), 1<<30)) }
