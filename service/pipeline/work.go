package pipeline

import (
	"errors"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/pipeline/attempt"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
)

// work is one job under way. Its goroutine alone changes the job and writes its
// record; attempts at tasks tell it what became of them.
type work struct {
	t        *term
	id       string
	job      *pb.Job
	rev      uint64
	in       records.Input
	vars     map[string]any
	tasks    *attempt.Job
	graph    *graph.Graph
	attempts map[string]*attempt.Attempt // by task
	ended    chan *attempt.Attempt
	fixes    chan *fix
	cancels  chan cancelation
	over     chan struct{} // closed when the record is final
	// later writes what nothing has waited for; dirty says that there is such.
	later *time.Timer
	dirty bool
}

// cancelation is somebody's wish that a job ends.
type cancelation struct {
	by, reason string
	written    chan struct{} // closed when the record says so
}

// work has a job go on, or begin. It reads what the job works with, unless it is
// given that.
func (t *term) work(j stored, in records.Input) {
	w := &work{
		t: t, id: j.job.GetId(), job: j.job, rev: j.rev, in: in,
		attempts: map[string]*attempt.Attempt{}, ended: make(chan *attempt.Attempt), fixes: make(chan *fix), cancels: make(chan cancelation), over: make(chan struct{}),
	}
	w.later = time.NewTimer(time.Hour)
	w.later.Stop()
	t.mu.Lock()
	t.works[w.id] = w
	t.notifyWorks()
	t.mu.Unlock()
	t.tasks.Go(func() {
		err := w.run()
		t.mu.Lock()
		delete(t.works, w.id)
		t.notifyWorks()
		t.mu.Unlock()
		close(w.over)
		if err == nil {
			t.leaveQueue(j.job.GetPipeline(), w.id)
		} else if t.ctx.Err() == nil {
			t.e.log.Error("cannot go on with a job", "job", w.id, "error", err)
			t.end(err)
		}
	})
}

// notifyWorks wakes those who wait for a change of works. The lock is held.
func (t *term) notifyWorks() {
	close(t.worksChanged)
	t.worksChanged = make(chan struct{})
}

// fix says for which runners a task is.
type fix struct {
	task            *pb.JobTask
	online, offline []string
	done            chan error
}

// fix returns when the record has it.
func (w *work) fix(f *fix) error {
	select {
	case w.fixes <- f:
		return <-f.done
	case <-w.t.ctx.Done():
		return errFenced
	}
}

// cancel asks the job to end, and returns when that is written or the job is
// over; the first wish counts.
func (w *work) cancel(by, reason string) {
	c := cancelation{by, reason, make(chan struct{})}
	select {
	case w.cancels <- c:
	case <-w.over:
		return
	case <-w.t.ctx.Done():
		return
	}
	select {
	case <-c.written:
	case <-w.over:
	case <-w.t.ctx.Done():
	}
}

func (w *work) run() error {
	if err := w.prepare(); err != nil {
		return w.unfit(err)
	}
	w.dirty = true // the first step writes it, before anything starts
	w.resume()
	defer w.later.Stop()
	for {
		over, err := w.step()
		if err != nil {
			return err
		}
		if over {
			break
		}
		if err := w.wait(); err != nil {
			return err
		}
	}
	if err := w.handleError(); err != nil {
		return err
	}
	return w.finish()
}

// unfit ends a job that can't go on as it is recorded: it alone, and not the
// engine that would meet it again after each start.
func (w *work) unfit(err error) error {
	if !errors.As(err, new(*unfitError)) {
		return err
	}
	w.job.Errored, w.job.LastError = true, err.Error()
	for _, task := range w.job.GetTasks() {
		if !graph.Status(task.GetStatus()).Final() {
			task.Status = string(graph.TaskCanceled)
		}
	}
	return w.finish()
}

// unfitError is one of a job, as opposed to one of reading it.
type unfitError struct{ error }

func (e *unfitError) Unwrap() error { return e.error }

// prepare makes the graph of what the record says.
func (w *work) prepare() (err error) {
	if w.job.Start == nil {
		w.job.Start = stamp(now())
	}
	if w.in.Definition == nil {
		if w.in, err = w.t.readInput(w.id); err != nil {
			return err
		}
	}
	if w.vars, err = definition.ReadVariables([]byte(w.job.GetVariablesJson())); err != nil {
		return &unfitError{err}
	}
	w.tasks = &attempt.Job{ID: w.id, Pipeline: w.job.GetPipeline(), Variables: w.vars, Input: w.in}
	w.graph = &graph.Graph{Variables: w.vars, ContinueAfterFailure: bool(w.in.Definition.ContinueAfterFailure), Canceled: w.job.GetCanceled()}
	for _, task := range w.job.GetTasks() {
		def := w.in.Definition.Tasks[task.GetName()]
		if def == nil {
			continue // the handler, of an earlier term
		}
		n := &graph.Node{
			Name: task.GetName(), DependsOn: task.GetDependsOn(), Status: graph.Status(task.GetStatus()), ExitCode: int(task.GetExitCode()),
			AllowFailure: bool(def.AllowFailure), Empty: def.Script.Blank(), Kept: task.GetKept(),
		}
		if def.When != "" {
			if n.When, err = definition.CompileWhen(string(def.When)); err != nil {
				return &unfitError{err}
			}
		}
		w.graph.Nodes = append(w.graph.Nodes, n)
	}
	return nil
}

// resume asks again for the runs of tasks that an earlier term has started.
func (w *work) resume() {
	for _, n := range w.graph.Nodes {
		if n.Status == graph.TaskRunning {
			w.attempt(w.job.Task(n.Name), w.in.Definition.Tasks[n.Name])
		}
	}
}

// attempt starts one; the record that says so has been written.
func (w *work) attempt(task *pb.JobTask, def *definition.Task) *attempt.Attempt {
	a := attempt.New(w.t.fleet, w.tasks, task, def)
	a.Fix = func(online, offline []string) error { return w.fix(&fix{task, online, offline, make(chan error, 1)}) }
	w.attempts[task.GetName()] = a
	w.t.tasks.Go(func() {
		a.Result = a.Do(w.t.ctx)
		select {
		case w.ended <- a:
		case <-w.t.ctx.Done():
		}
	})
	return a
}

// step applies what follows from what has happened, and starts and stops tasks
// after that is written.
func (w *work) step() (over bool, err error) {
	step := w.graph.Next()
	for _, e := range step.Ended {
		task := w.job.Task(e.Node.Name)
		task.Status, task.Error, task.End = string(e.Node.Status), e.Error, stamp(now())
		if e.Node.Status == graph.TaskDone {
			task.Start = task.End
		}
		w.noteError(e.Node, e.Error)
	}
	for _, n := range step.Start {
		task := w.job.Task(n.Name)
		task.Status, task.Start, task.Attempt = string(graph.TaskRunning), stamp(now()), 1
		task.Runs = []string{task.RunID(w.id, 1)}
	}
	if step.Over {
		return true, nil // the last record is finish's
	}
	if len(step.Ended)+len(step.Start) > 0 {
		if err := w.save(); err != nil {
			return false, err
		}
	} else if w.dirty {
		w.later.Reset(laterTime)
	}
	for _, n := range step.Start {
		w.attempt(w.job.Task(n.Name), w.in.Definition.Tasks[n.Name])
	}
	for _, n := range step.Abort {
		if a := w.attempts[n.Name]; a != nil {
			a.Abort()
		}
	}
	return false, nil
}

// laterTime is how long the end of a task waits for other changes, which then
// share a record, where nothing starts after it. An engine that takes over in
// between finds the end in the run's own record.
const laterTime = 5 * time.Millisecond

// wait takes in one thing that happens.
func (w *work) wait() error {
	select {
	case a := <-w.ended:
		for { // those that ended at the same time share a record
			if err := w.take(a); err != nil {
				return err
			}
			select {
			case a = <-w.ended:
			default:
				return nil
			}
		}
	case <-w.later.C:
		if !w.dirty {
			return nil
		}
		return w.save()
	case f := <-w.fixes:
		f.task.Asked, f.task.Missing, f.task.Runs = f.online, f.offline, nil
		for _, name := range f.online {
			f.task.Runs = append(f.task.Runs, f.task.RunID(w.id, f.task.GetAttempt())+"-"+name)
		}
		err := w.save()
		f.done <- err
		return err
	case c := <-w.cancels:
		defer close(c.written)
		if w.graph.Canceled {
			return nil
		}
		w.job.Canceled, w.job.CanceledBy, w.job.CanceledAt, w.job.Reason = true, c.by, stamp(now()), c.reason
		w.graph.Canceled = true
		return w.save()
	case <-w.t.ctx.Done():
		return errFenced
	}
}

// take puts the end of an attempt in the record, or has the task tried again.
func (w *work) take(a *attempt.Attempt) error {
	delete(w.attempts, a.Task.GetName())
	w.dirty = true
	task, result := a.Task, a.Result
	n := w.graph.Node(task.GetName())
	task.ExitCode, task.Error, task.Runner = int32(result.ExitCode), result.Text, result.Runner
	if len(result.Runs) > 0 {
		task.Runs = result.Runs
	}
	if again, err := w.retry(a); again || err != nil {
		return err
	}
	task.End, task.NotBefore = stamp(now()), nil
	switch {
	case result.Canceled && (w.graph.Canceled || a.Aborted()):
		n.Status, task.Error = graph.TaskCanceled, ""
	case result.Text != "":
		n.Status = graph.TaskError
	default:
		n.Status = graph.TaskDone
	}
	n.ExitCode = result.ExitCode
	task.Status = string(n.Status)
	w.noteError(n, task.GetError())
	return nil
}

// retry starts another attempt of a task that failed, if it may have one.
func (w *work) retry(a *attempt.Attempt) (again bool, err error) {
	r := a.Def.Retries
	if r == nil || a.Result.Text == "" || a.Result.Canceled || a.Aborted() || w.graph.Canceled {
		return false, nil
	}
	if int(a.Task.GetAttempt()) > int(r.Max) || !r.Covers(a.Result.Cause) {
		return false, nil
	}
	task := a.Task
	task.Attempt++
	if on := a.Def.On; on == nil || !bool(on.All) { // else they say who had it done
		task.Runs = []string{task.RunID(w.id, task.GetAttempt())}
	}
	if wait := r.Wait(int(task.GetAttempt())); wait > 0 {
		task.NotBefore = stamp(now().Add(wait))
	}
	if err := w.save(); err != nil {
		return false, err
	}
	w.attempt(task, a.Def)
	return true, nil
}

// finish writes the last record.
func (w *work) finish() error {
	w.job.Completed, w.job.End = true, stamp(now())
	if err := w.save(); err != nil {
		return err
	}
	w.t.e.log.Info("a job has ended", "job", w.id, "pipeline", w.job.GetPipeline(), "errored", w.job.GetErrored(), "canceled", w.job.GetCanceled())
	return nil
}

func (w *work) save() error {
	rev, err := w.t.saveJob(w.job, w.rev)
	if err == nil {
		w.rev, w.dirty = rev, false
	}
	return err
}

// leaveQueue takes a job that has ended out of its pipeline's head, so that the
// next may start, and removes jobs that the pipeline keeps no longer.
func (t *term) leaveQueue(pipeline, id string) {
	err := t.queue(pipeline).change(func(h waitlist.Head) (waitlist.Head, error) {
		h, _ = h.Remove(id)
		return h, nil
	})
	if err != nil && !errors.Is(err, errFenced) {
		t.e.log.Error("cannot take an ended job out of its queue", "job", id, "error", err)
		t.end(err)
		return
	}
	t.retain(pipeline)
}

// jobTasks are the tasks of a new job, all waiting.
func jobTasks(p *definition.Pipeline) []*pb.JobTask {
	var tasks []*pb.JobTask
	for i, name := range p.Order() {
		tasks = append(tasks, &pb.JobTask{
			Name: name, DependsOn: p.Tasks[name].DependsOn, Status: string(graph.TaskWaiting),
			AllowFailure: bool(p.Tasks[name].AllowFailure), Number: int32(i + 1),
		})
	}
	return tasks
}
