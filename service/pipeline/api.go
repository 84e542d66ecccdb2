package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
	"github.com/runnel-io/runnel/subjects"
)

// defaultPage is how many jobs are listed unless told otherwise; pageBytes
// bounds what is listed in any case.
const (
	defaultPage = 100
	pageBytes   = 900 << 10
)

func undefined(name string) error {
	return endpoint.Coded(endpoint.CodeUnknown, fmt.Errorf("pipeline %q is not defined", name))
}

func conflict(format string, args ...any) error {
	return endpoint.Coded(endpoint.CodeConflict, fmt.Errorf(format, args...))
}

// listen answers the verb for as long as the term lasts. Only the lease's
// holder does.
func (t *term) listen() error {
	server, err := endpoint.New(t.ctx, endpoint.Config{
		Conn: t.e.nc, Space: t.e.space, Runner: t.e.cfg.Name,
		Rows: []endpoint.Row{{
			Verb: subjects.Pipeline, Reach: endpoint.ReachAny, LeavesAny: true, Handle: endpoint.Handle(t.answer),
			// Many at once share a write of the head.
			Bound:   endpoint.Bound{AtOnce: opsAtOnce, Queue: 16 * opsAtOnce},
			Smaller: "use limit and next",
		}},
		Free: func() bool { return true },
		ServerTime: func(ctx context.Context) (earliest, latest time.Time, err error) {
			earliest, err = t.e.store.ServerTime(ctx)
			return earliest, earliest, err
		},
		Matches: func(string) (bool, error) { return true, nil },
		Allow:   func(subjects.Verb) error { return nil },

		ReplyPrefixes: func() []string { return t.e.cfg.ReplyPrefixes },
		Code:          codeOf,
		Metrics:       prometheus.NewRegistry(),
		Logger:        t.e.log,
	})
	if err != nil {
		return err
	}
	if err := server.Open(); err != nil {
		return err
	}
	t.tasks.Go(func() {
		<-t.ctx.Done()
		server.Stop()
		server.Close()
		server.Wait()
	})
	return nil
}

// codeOf gives the codes of errors that have none of their own.
func codeOf(err error) int {
	switch {
	case errors.Is(err, client.ErrUnknownJob):
		return endpoint.CodeUnknown
	case errors.Is(err, waitlist.ErrNoQueue), errors.Is(err, waitlist.ErrQueueFull):
		return endpoint.CodeConflict
	case errors.Is(err, errFenced):
		return endpoint.CodeFull
	}
	return 0
}

func (t *term) answer(ctx context.Context, r *endpoint.Request, req *pb.PipelineRequest) (*pb.PipelineReply, error) {
	a := req.GetSpec().GetPipeline()
	reply := &pb.PipelineReply{Engine: t.e.cfg.Name}
	var err error
	switch {
	case a.Schedule != nil:
		reply.Job, err = t.schedule(req.GetMetadata().GetId(), a.Schedule)
		reply.JobId = reply.Job.GetId()
	case a.List != nil:
		reply.Pipelines = t.pipelines(a.List.GetName())
		if name := a.List.GetName(); name != "" && len(reply.Pipelines) == 0 {
			err = undefined(name)
		}
	case a.Jobs != nil:
		reply.Jobs, reply.Next, err = t.listJobs(ctx, a.Jobs)
	case a.Job != nil:
		reply.Job, err = t.job(a.Job.GetId())
	case a.Cancel != nil:
		reply.Job, err = t.cancel(a.Cancel)
	case a.Rerun != nil:
		reply.Job, err = t.rerun(req.GetMetadata().GetId(), a.Rerun)
		reply.JobId = reply.Job.GetId()
	case a.Apply != nil:
		if _, err = t.apply(a.Apply); err == nil {
			reply.Pipelines = t.pipelines("")
		}
	case a.Remove != nil:
		err = t.remove(a.Remove.GetName())
	}
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// jobID reads an id in any usual spelling of a UUID.
func jobID(id string) (string, error) {
	u, err := uuid.Parse(strings.TrimSpace(id))
	if err != nil {
		return "", pb.Invalid("invalid job id %q: it must be a UUID", id)
	}
	return u.String(), nil
}

// newJobID is the caller's own id, or a new one.
func newJobID(own string) (string, error) {
	if own == "" {
		return uuid.NewString(), nil
	}
	return jobID(own)
}

// schedule takes a new job in.
func (t *term) schedule(id string, s *pb.ScheduleJob) (*pb.Job, error) {
	d := t.definition(s.GetPipeline())
	if d == nil {
		return nil, undefined(s.GetPipeline())
	}
	text, err := s.VariablesText()
	if err != nil {
		return nil, err
	}
	vars, err := definition.ReadVariables(text)
	if err != nil {
		return nil, pb.Invalid("%s", err)
	}
	body, err := json.Marshal(vars)
	if err != nil {
		return nil, pb.Invalid("cannot read variables: %s", err)
	}
	job := newJob(d)
	job.User, job.QueuePartition, job.VariablesJson = s.GetUser(), s.GetQueuePartition(), string(body)
	if job.Id, err = newJobID(id); err != nil {
		return nil, err
	}
	return t.accept(job, t.inputOf(d))
}

// newJob is one of a definition, without what its caller says.
func newJob(d *records.Definition) *pb.Job {
	return &pb.Job{Pipeline: d.Name, Tasks: jobTasks(d.Pipeline), ContinueAfterFailure: bool(d.Pipeline.ContinueAfterFailure)}
}

// inputOf is what a new job of a definition works with.
func (t *term) inputOf(d *records.Definition) records.Input {
	env := maps.Clone(t.e.cfg.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, d.Env)
	return records.Input{Definition: d.Pipeline, Env: env, Dir: t.e.cfg.Dir, Runner: t.e.cfg.Runner}
}

// accept takes a job in. The same id again gives the first job, also while that
// one is being taken in.
func (t *term) accept(job *pb.Job, in records.Input) (*pb.Job, error) {
	id, mine := job.GetId(), make(chan struct{})
	for {
		t.mu.Lock()
		other := t.accepting[id]
		if other == nil {
			t.accepting[id] = mine
		}
		t.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-t.ctx.Done():
			return nil, errFenced
		}
	}
	defer func() {
		t.mu.Lock()
		delete(t.accepting, id)
		t.mu.Unlock()
		close(mine)
	}()
	return t.acceptOnce(job, in)
}

// acceptOnce puts a job in its pipeline's queue. The head is written first: it is
// what decides.
func (t *term) acceptOnce(job *pb.Job, in records.Input) (*pb.Job, error) {
	if t.index.Knows(job.GetId()) { // all jobs are in it: a new one costs no question
		old, err := t.readJob(job.GetId())
		if err == nil {
			return t.again(old.job, job)
		}
		if !errors.Is(err, client.ErrUnknownJob) {
			return nil, err
		}
	}
	at := now()
	job.Created = stamp(at)
	if err := t.fits(job, in); err != nil {
		return nil, err
	}
	var accepted waitlist.Accepted
	var rev uint64
	headed := false
	q := t.queue(job.GetPipeline())
	ordered := &atomic.Bool{}
	err := q.changeInOrder(ordered, func(h waitlist.Head) (next waitlist.Head, err error) {
		if _, waits := h.IsWaiting(job.GetId()); waits || slices.Contains(h.Running, job.GetId()) {
			return h, conflict("a job with the id %s is being accepted", job.GetId())
		}
		w := waitlist.Waiting{Job: job.GetId(), Partition: job.GetQueuePartition(), Soft: in.Definition.Interruptible()}
		if next, accepted, err = h.Accept(in.Definition, w, at); err == nil && accepted.Replaced != "" {
			ordered.Store(true)
		}
		if place, waits := next.IsWaiting(job.GetId()); waits && err == nil {
			if due := next.Waiting[place-1].NotBefore; !due.IsZero() {
				job.NotBefore = stamp(due)
			}
		}
		return next, err
	}, func() error {
		headed = true
		if accepted.Replaced != "" {
			if err := t.replace(accepted.Replaced, job, in.Definition); err != nil {
				return err
			}
		}
		if err := t.saveInput(job.GetId(), in); err != nil {
			return err
		}
		var err error
		rev, err = t.saveJob(job, 0)
		return err
	})
	if err != nil {
		if headed { // and has no record: it must hold up nobody
			_ = q.change(func(h waitlist.Head) (waitlist.Head, error) { h, _ = h.Remove(job.GetId()); return h, nil })
		}
		return nil, err
	}
	if accepted.Replaced != "" {
		t.tasks.Go(func() { t.retain(job.GetPipeline()) })
	}
	if accepted.Start {
		t.work(stored{proto.CloneOf(job), rev}, in)
	} else if in.Definition.Interrupt {
		t.interrupt(job)
	}
	t.e.log.Info("a job was accepted", "job", job.GetId(), "pipeline", job.GetPipeline(), "user", job.GetUser(), "waits", !accepted.Start)
	return job, nil
}

// recordSpare is how much the records of a job may grow until its end.
const recordSpare = 64 << 10

// fits refuses a job whose records no message could hold, before it is in the queue.
func (t *term) fits(job *pb.Job, in records.Input) error {
	record, err := pb.MarshalJSON(job)
	if err != nil {
		return err
	}
	definition, err := json.Marshal(in)
	if err != nil {
		return err
	}
	most := int(t.e.nc.MaxPayload()) - recordSpare
	for what, size := range map[string]int{"its record": len(record), "its definition with the environment": len(definition)} {
		if size > most {
			return pb.Invalid("cannot start the job: %s would have %d bytes, %d at most: use fewer or shorter variables", what, size, most)
		}
	}
	return nil
}

func (t *term) again(old, job *pb.Job) (*pb.Job, error) {
	if old.GetPipeline() != job.GetPipeline() || old.GetVariablesJson() != job.GetVariablesJson() {
		return nil, conflict("another job has the id %s", job.GetId())
	}
	return old, nil
}

// replace ends the job that made room for another, which may inherit its variables.
func (t *term) replace(id string, by *pb.Job, p *definition.Pipeline) error {
	old, err := t.readJob(id)
	if err != nil {
		return err
	}
	if p.Merges() {
		if err := inherit(by, old.job); err != nil {
			return err
		}
	}
	endUnstarted(old.job, by.GetUser(), "replaced by job "+by.GetId())
	_, err = t.saveJob(old.job, old.rev)
	return err
}

func inherit(job, from *pb.Job) error {
	vars, err := definition.ReadVariables([]byte(from.GetVariablesJson()))
	if err != nil {
		return err
	}
	own, err := definition.ReadVariables([]byte(job.GetVariablesJson()))
	if err != nil {
		return err
	}
	maps.Copy(vars, own)
	body, err := json.Marshal(vars)
	job.VariablesJson = string(body)
	return err
}

// interrupt cancels the running jobs of a pipeline that let themselves be
// interrupted, in favour of a new one; after a takeover, those that ran when it came.
func (t *term) interrupt(job *pb.Job) {
	for _, id := range t.queue(job.GetPipeline()).snapshot().Soft {
		old := t.index.Get(id)
		if old.GetStart() != nil && old.GetStart().AsTime().After(job.GetCreated().AsTime()) {
			continue // it has waited before this one, and had its turn
		}
		if w := t.workOf(id); w != nil {
			w.cancel(job.GetUser(), "interrupted by job "+job.GetId())
		}
	}
}

// job is one job as it is now.
func (t *term) job(id string) (*pb.Job, error) {
	id, err := jobID(id)
	if err != nil {
		return nil, err
	}
	j, err := t.readJob(id)
	if err != nil {
		return nil, err
	}
	records.Place(j.job, t.queue(j.job.GetPipeline()).snapshot(), t.definition(j.job.GetPipeline()), now())
	return j.job, nil
}

// cancel ends a job: one that waits at once, one that runs by and by. Of one
// that has ended nothing changes.
func (t *term) cancel(c *pb.CancelJob) (*pb.Job, error) {
	id, err := jobID(c.GetId())
	if err != nil {
		return nil, err
	}
	j, err := t.readJob(id)
	if err != nil || j.job.GetCompleted() {
		return j.job, err
	}
	q := t.queue(j.job.GetPipeline())
	waited := false
	err = q.changeThen(func(h waitlist.Head) (waitlist.Head, error) {
		if _, waited = h.IsWaiting(id); waited {
			h, _ = h.Remove(id)
		}
		return h, nil
	}, func() error {
		if !waited {
			return nil
		}
		endUnstarted(j.job, c.GetUser(), c.GetReason())
		_, err := t.saveJob(j.job, j.rev)
		return err
	})
	if err == nil && waited {
		t.tasks.Go(func() { t.retain(j.job.GetPipeline()) })
	}
	if err != nil || waited {
		return j.job, err
	}
	if w := t.workOf(id); w != nil {
		w.cancel(c.GetUser(), c.GetReason())
	}
	return t.job(id)
}

// workOf finds a job that has left its queue. One that has just left it is
// waited for: nil says that it has ended.
func (t *term) workOf(id string) *work {
	for {
		t.mu.Lock()
		w, changed := t.works[id], t.worksChanged
		t.mu.Unlock()
		if w != nil || t.ctx.Err() != nil {
			return w
		}
		job := t.index.Get(id)
		if job == nil || job.GetCompleted() || !slices.Contains(t.queue(job.GetPipeline()).snapshot().Running, id) {
			return nil
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
		}
	}
}

// listJobs is a page of jobs, newest first, that fits in a reply.
func (t *term) listJobs(ctx context.Context, l *pb.ListJobs) ([]*pb.Job, string, error) {
	before, err := records.ReadCursor(l.GetNext())
	if err != nil {
		return nil, "", err
	}
	limit := int(l.GetLimit())
	if limit == 0 {
		limit = defaultPage
	}
	rows, more := t.index.Page(l.GetPipeline(), before, min(limit, 1000))
	jobs, err := t.index.List(ctx, t.e.jobs, rows)
	if err != nil {
		return nil, "", err
	}
	size := 0
	for i, job := range jobs {
		if size += sizeOf(job); size > pageBytes && i > 0 {
			jobs, more = jobs[:i], true
			break
		}
	}
	if !more || len(jobs) == 0 {
		return jobs, "", nil
	}
	return jobs, records.CursorOf(records.RowOf(jobs[len(jobs)-1])), nil
}
