package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/attempt"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/timers"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
)

// term is the time for which an engine holds the lease, and everything that it
// knows meanwhile. It ends with its context; what it has begun by then is
// either written or not, and the next term goes on from what is written.
type term struct {
	e     *Engine
	ctx   context.Context
	end   context.CancelCauseFunc
	lease *lease
	tasks sync.WaitGroup // goroutines

	mu     sync.Mutex
	defs   map[string]*records.Definition
	queues map[string]*queue
	works  map[string]*work // jobs that are at work, by id
	// accepting has the ids of jobs that are being taken in; closed when they are.
	accepting map[string]chan struct{}
	// worksChanged is closed and replaced when works has.
	worksChanged chan struct{}

	index  *records.Index
	fleet  *attempt.Fleet
	timers *timers.Timers
	opened bool
}

func newTerm(e *Engine, ctx context.Context, end context.CancelCauseFunc, l *lease) *term {
	t := &term{
		e: e, ctx: ctx, end: end, lease: l,
		defs: map[string]*records.Definition{}, queues: map[string]*queue{}, works: map[string]*work{}, accepting: map[string]chan struct{}{}, worksChanged: make(chan struct{}), index: records.NewIndex(),
	}
	t.fleet = &attempt.Fleet{
		Client: e.client, Store: e.store, Ends: attempt.NewEnds(), MaxPayload: int(e.nc.MaxPayload()), StartTimeout: e.cfg.StartTimeout, Look: e.cfg.Lease, Go: t.tasks.Go,
	}
	t.timers = t.newTimers()
	return t
}

// open takes over: it reads everything, rewrites what an earlier holder could
// still change, and goes on with the jobs. Then it can be asked.
func (t *term) open() error {
	if err := t.followRuns(); err != nil {
		return err
	}
	heads, err := t.readDefinitions()
	if err != nil {
		return err
	}
	unfinished, err := t.readJobs()
	if err != nil {
		return err
	}
	for name := range t.defs { // each has a head, so that nobody else can make it
		if _, there := heads[name]; !there {
			heads[name] = headEntry{}
		}
	}
	known := make(map[string]bool, len(unfinished))
	for _, j := range unfinished {
		known[j.job.GetId()] = true
	}
	err = attempt.AtOnce(slices.Collect(maps.Keys(heads)), func(name string) error { return t.takeHead(name, heads[name], known) })
	if err == nil {
		err = attempt.AtOnce(unfinished, t.takeJob)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.opened = true
	for _, q := range t.queues {
		t.tasks.Go(q.run)
	}
	t.mu.Unlock()
	for name := range heads {
		t.tasks.Go(func() { t.retain(name) })
		t.tasks.Go(func() { t.interruptAgain(name) })
	}
	if err := t.listen(); err != nil {
		return err
	}
	t.tasks.Go(func() { t.timers.Run(t.ctx) })
	return nil
}

// followRuns returns when no run's end can be missed any more.
func (t *term) followRuns() error {
	began, failed := make(chan struct{}), make(chan error, 1)
	t.tasks.Go(func() {
		err := t.fleet.Ends.Follow(t.ctx, t.e.store, func() { close(began) })
		if t.ctx.Err() == nil {
			failed <- err
			t.end(fmt.Errorf("cannot hear of the ends of runs: %w", err))
		}
	})
	select {
	case <-began:
		return nil
	case err := <-failed:
		return err
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// interruptAgain goes on with what a job that waits has begun.
func (t *term) interruptAgain(pipeline string) {
	q := t.queue(pipeline)
	if !q.rules().Interrupt {
		return
	}
	for _, w := range q.snapshot().Waiting {
		if job := t.index.Get(w.Job); job != nil {
			t.interrupt(job)
		}
	}
}

// close waits for everything that the term has begun.
func (t *term) close() {
	t.end(errors.New("the term is over"))
	t.mu.Lock()
	for _, q := range t.queues {
		if q.retention != nil {
			q.retention.Stop()
		}
	}
	t.mu.Unlock()
	t.tasks.Wait()
}

// headEntry is a head as it was read.
type headEntry struct {
	waitlist.Head
	rev uint64
}

// readDefinitions reads the definitions, and returns the heads beside them.
func (t *term) readDefinitions() (map[string]headEntry, error) {
	heads := map[string]headEntry{}
	var broken error
	err := t.e.defs.Scan(t.ctx, 0, func(e kv.Entry) {
		if e.Body == nil {
			return
		}
		switch records.KindOfKey(e.Key) {
		case "def":
			d, err := records.ReadDefinition(e)
			if err != nil {
				broken = err
				return
			}
			t.defs[d.Name] = d
		case "head":
			h, err := records.ReadHead(e.Body)
			if err != nil {
				broken = err
				return
			}
			heads[h.Pipeline] = headEntry{h, e.Rev}
		}
	})
	return heads, errors.Join(err, broken)
}

// readJobs puts all jobs in the index and returns those that have not ended.
func (t *term) readJobs() ([]stored, error) {
	last := map[string]stored{}
	err := t.e.jobs.Scan(t.ctx, 0, func(e kv.Entry) {
		if e.Body == nil {
			delete(last, e.Key)
			return
		}
		job, err := pb.JobOf(e.Body)
		if err != nil {
			t.e.log.Warn("cannot read a job; it is left out", "job", e.Key, "error", err)
			return
		}
		last[e.Key] = stored{job, e.Rev}
	})
	if err != nil {
		return nil, err
	}
	all := slices.SortedFunc(maps.Values(last), func(a, b stored) int {
		return a.job.GetCreated().AsTime().Compare(b.job.GetCreated().AsTime())
	})
	var unfinished []stored
	for _, j := range all { // in order, so that each is the index's last
		t.index.Put(j.job)
		if !j.job.GetCompleted() {
			unfinished = append(unfinished, j)
		}
	}
	return unfinished, nil
}

// takeHead rewrites a head under this lease. A job that it names and that has
// no record was never accepted; one that has ended only has to leave.
func (t *term) takeHead(name string, h headEntry, unfinished map[string]bool) error {
	t.mu.Lock()
	q := t.newQueue(name, h.Head, h.rev)
	t.mu.Unlock()
	next := h.Clone()
	for _, id := range append(slices.Clone(h.Running), jobsOf(h.Waiting)...) {
		if unfinished[id] {
			continue
		}
		next, _ = next.Remove(id)
		if _, err := t.readJob(id); !errors.Is(err, client.ErrUnknownJob) {
			if err != nil {
				return err
			}
			continue
		}
		job := &pb.Job{Id: id, Pipeline: name, Created: stamp(now())}
		endUnstarted(job, "", "the engine was lost before the job was accepted")
		if _, err := t.saveJob(job, 0); err != nil {
			return err
		}
	}
	if err := q.save(next); err != nil {
		return fmt.Errorf("cannot take over the queue of pipeline %q: %w", name, err)
	}
	return nil
}

func jobsOf(waiting []waitlist.Waiting) (ids []string) {
	for _, w := range waiting {
		ids = append(ids, w.Job)
	}
	return ids
}

// takeJob rewrites the record of a job that has not ended and goes on with it.
// One that is in no queue was accepted and never answered for: it is over.
func (t *term) takeJob(j stored) error {
	h := t.queue(j.job.GetPipeline()).snapshot()
	switch _, waits := h.IsWaiting(j.job.GetId()); {
	case waits:
		return t.rewrite(&j)
	case slices.Contains(h.Running, j.job.GetId()):
		if err := t.rewrite(&j); err != nil {
			return err
		}
		t.work(j, records.Input{})
		return nil
	}
	t.e.log.Warn("a job was taken out of its queue by an engine that was lost", "job", j.job.GetId(), "pipeline", j.job.GetPipeline())
	endUnstarted(j.job, "", "taken out of the queue")
	return t.rewrite(&j)
}

func (t *term) rewrite(j *stored) error {
	rev, err := t.saveJob(j.job, j.rev)
	j.rev = rev
	return err
}

// fenced ends the term where a write was refused: another engine has it.
func (t *term) fenced(err error) error {
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		t.end(errFenced)
		return errFenced
	}
	return err
}

// put writes a key that this term alone writes; a conflict ends the term.
func (t *term) put(b *kv.Bucket, w kv.Write) (uint64, error) {
	rev, err := b.Put(t.ctx, w)
	if err != nil {
		return 0, t.fenced(err)
	}
	return rev, nil
}

// unfinished counts the jobs at work.
func (t *term) unfinished() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.works)
}

// now is the time that records get.
func now() time.Time { return time.Now().UTC() }
