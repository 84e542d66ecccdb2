package pipeline

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
)

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
	}, func() (err error) {
		headed = true
		rev, err = t.record(job, in, accepted.Replaced)
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

// record writes what a job works with, and the job, after it has taken the place of
// another one if there is such.
func (t *term) record(job *pb.Job, in records.Input, replaced string) (rev uint64, err error) {
	if replaced != "" {
		if err := t.replace(replaced, job, in.Definition); err != nil {
			return 0, err
		}
	}
	if err := t.saveInput(job.GetId(), in); err != nil {
		return 0, err
	}
	return t.saveJob(job, 0)
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
