package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/endpoint"
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

// cancel ends a job: one that waits at once, one that runs by and by. A job that has
// ended stays as it is.
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
