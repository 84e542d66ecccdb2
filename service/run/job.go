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

// job is one run here. The goroutine in life owns it; mu guards what others see.
type job struct {
	r       *Runner
	id      string
	task    *pb.Task
	plan    plan
	trace   string // the request's W3C trace context
	ticket  *ticket
	claimed chan struct{} // closed when the record was created, or wasn't
	over    chan struct{} // closed when its processes are gone and only the records are left to write
	done    chan struct{} // closed when the life is over
	rev     uint64        // of the record; life's alone
	early   chan start    // of the main process, unless it is prepared later; life's alone

	mu    sync.Mutex
	run   *pb.Run // the record as NATS has it; replaced by life alone
	cause *cause
	hurry bool          // without grace
	ended chan struct{} // closed when a cause is named
	proc  *sandbox.Process
}

// newJob makes the record that a claim will store.
func (r *Runner) newJob(t *Ticket, s Submission) (*job, error) {
	task := s.Request.GetSpec().GetTask()
	plan, err := r.planOf(task)
	if err != nil {
		return nil, err
	}
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
		Traceparent: s.Traceparent,
	}
	j := &job{
		r: r, id: id, task: task, plan: plan, trace: s.Traceparent, ticket: t.t, run: run,
		claimed: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{}),
	}
	if j.hasSlot() {
		run.State, run.Started = pb.State_RUNNING, now
	}
	return j, nil
}

func nameOf(r *pb.TaskRequest) string {
	if name := r.GetSpec().GetTask().GetName(); name != "" {
		return name
	}
	return r.GetMetadata().GetName()
}

func (j *job) hasSlot() bool {
	select {
	case <-j.ticket.granted:
		return true
	default:
		return false
	}
}

// snapshot is the record as others may have it.
func (j *job) snapshot() *pb.Run {
	j.mu.Lock()
	defer j.mu.Unlock()
	return proto.CloneOf(j.run)
}

// end names a cause; it returns at once, and does nothing when one is named
// already or the run is over.
func (j *job) end(c *cause) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cause != nil {
		return
	}
	j.cause = c
	j.run.Aborting = c == causeAborted
	close(j.ended)
	j.signal()
}

// signal does to the process, if there is one yet, what the cause says. Callers hold mu.
func (j *job) signal() {
	switch {
	case j.proc == nil || j.cause == nil:
	case j.cause.gently && !j.hurry:
		j.proc.Terminate(j.plan.grace)
	default:
		j.proc.Kill()
	}
}

// kill ends the run without any grace, also one that is being ended with some.
func (j *job) kill() {
	j.end(causeStopped)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hurry = true
	j.signal()
}

func (j *job) named() *cause {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cause
}

// life: wait for a slot, run, finish.
func (j *job) life() {
	defer close(j.done)
	log := logs.Open(j.logConfig())
	// A log that waits for NATS must not keep the runner from stopping.
	defer context.AfterFunc(j.r.ctx, func() { log.Abandon(errStopped) })()
	if !j.waitForSlot(log) {
		return
	}
	if j.plan.timeout > 0 {
		timer := time.AfterFunc(j.plan.timeout, func() { j.end(causeTimeout) })
		defer timer.Stop()
	}
	end := j.execute(log)
	if brokenDoubleStart {
		end = j.execute(log)
	}
	j.finish(end, log)
}

// waitForSlot returns false if the run ended while it waited.
func (j *job) waitForSlot(log *logs.Writer) bool {
	if j.run.GetState() == pb.State_RUNNING {
		return true
	}
	if j.plan.expires > 0 {
		timer := time.AfterFunc(j.plan.expires, func() { j.end(causeExpired) })
		defer timer.Stop()
	}
	select {
	case <-j.ticket.granted:
	case <-j.ended:
	}
	if c := j.named(); c != nil {
		end := endOf(sandbox.Status{}, c)
		if c == causeExpired {
			end.err = fmt.Sprintf("waited for a place for more than %s", j.plan.expires)
		}
		j.finish(end, log)
		return false
	}
	// Not before NATS has it: who waited through a cut may have been declared lost.
	return j.write(func(run *pb.Run) {
		run.State, run.Started = pb.State_RUNNING, timestamppb.Now()
	})
}

// fenced: the log or the record is somebody else's now.
func (j *job) fenced(err error) {
	j.r.log.Warn("run was taken from this runner and is killed here", "run", j.id, "runner", j.r.cfg.Name, "error", err)
	j.end(causeFenced)
}

func (j *job) logConfig() logs.Config {
	l := j.task.GetLog()
	cfg := j.r.logConfig(j.run)
	cfg.Lines = lines.Config{WidthRunes: clampInt(l.GetWidth()), Pack: clampInt(l.GetPack())}
	cfg.MaxBytes, cfg.Overflow, cfg.OnFenced = l.GetMaxBytes(), l.GetOverflow(), j.fenced
	return cfg
}

func clampInt(n int64) int { return int(min(max(n, 0), 1<<30)) }
