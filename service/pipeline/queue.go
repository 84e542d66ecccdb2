package pipeline

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/graph"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
)

// opsAtOnce is how many changes of a head go into one write.
const opsAtOnce = 256

// queue owns the head of one pipeline. Its goroutine applies changes one after
// the other and writes them together, so that a thousand jobs a second need a
// few writes and not a thousand.
type queue struct {
	t         *term
	name      string
	head      atomic.Pointer[waitlist.Head] // as it is stored
	rev       uint64
	ops       chan *op
	timer     *time.Timer // for the next delay that ends
	retention *time.Timer // for the next job that is kept no longer; under t.mu
}

// op is one change of a head. apply may refuse; then nothing of it is kept.
// after, if set, is called when the head is stored, before any job may start.
type op struct {
	apply func(h waitlist.Head) (waitlist.Head, error)
	after func() error
	// ordered, once apply has set it: after needs what those before it write.
	ordered *atomic.Bool
	err     error
	done    chan struct{}
}

// newQueue makes the queue of a pipeline. It is called with the lock held.
func (t *term) newQueue(name string, h waitlist.Head, rev uint64) *queue {
	h.Pipeline = name
	q := &queue{t: t, name: name, rev: rev, ops: make(chan *op, opsAtOnce), timer: time.NewTimer(time.Hour)}
	q.timer.Stop()
	q.head.Store(&h)
	t.queues[name] = q
	return q
}

// snapshot is the head as it was last stored.
func (q *queue) snapshot() waitlist.Head { return *q.head.Load() }

// queue finds the queue of a pipeline, or makes it.
func (t *term) queue(name string) *queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[name]
	if q == nil {
		q = t.newQueue(name, waitlist.Head{}, 0)
		if t.opened {
			t.tasks.Go(q.run)
		}
	}
	return q
}

// change applies a change and returns when it is stored.
func (q *queue) change(apply func(waitlist.Head) (waitlist.Head, error)) error {
	return q.changeThen(apply, nil)
}

// changeThen applies a change, and calls after when it is stored.
func (q *queue) changeThen(apply func(waitlist.Head) (waitlist.Head, error), after func() error) error {
	return q.changeInOrder(&atomic.Bool{}, apply, after)
}

// changeInOrder is changeThen for a change of which only apply finds out whether
// after needs the records of changes before it.
func (q *queue) changeInOrder(ordered *atomic.Bool, apply func(waitlist.Head) (waitlist.Head, error), after func() error) error {
	o := &op{apply: apply, after: after, ordered: ordered, done: make(chan struct{})}
	select {
	case q.ops <- o:
	case <-q.t.ctx.Done():
		return errFenced
	}
	select {
	case <-o.done:
		return o.err
	case <-q.t.ctx.Done():
		return errFenced
	}
}

func (q *queue) run() {
	defer q.timer.Stop()
	q.settle(nil) // what may run already
	for {
		var ops []*op
		select {
		case o := <-q.ops:
			ops = append(ops, o)
		case <-q.timer.C:
		case <-q.t.ctx.Done():
			return
		}
		for more := true; more && len(ops) < opsAtOnce; {
			select {
			case o := <-q.ops:
				ops = append(ops, o)
			default:
				more = false
			}
		}
		q.settle(ops)
	}
}

// settle applies changes, lets the jobs start that may, writes the head if it
// is another one, and then has those jobs begin.
func (q *queue) settle(ops []*op) {
	h, changed := q.snapshot(), false
	for _, o := range ops {
		next, err := o.apply(h)
		if o.err = err; err == nil {
			h, changed = next, true
		}
	}
	h, started := h.Start(q.rules(), now())
	if changed || len(started) > 0 {
		if err := q.save(h); err != nil {
			for _, o := range ops {
				if o.err == nil {
					o.err = err
				}
			}
			started = nil
		}
	}
	runAfters(ops)
	for _, o := range ops {
		close(o.done)
	}
	for _, id := range started {
		q.t.begin(id)
	}
	if next := q.snapshot().NextDue(now()); !next.IsZero() {
		q.timer.Reset(time.Until(next))
	}
}

// runAfters calls what is to follow the head's write, at once where it may be.
func runAfters(ops []*op) {
	var afters sync.WaitGroup
	for _, o := range ops {
		if o.err == nil && o.after != nil && !o.ordered.Load() {
			afters.Go(func() { o.err = o.after() })
		}
	}
	afters.Wait()
	for _, o := range ops {
		if o.err == nil && o.after != nil && o.ordered.Load() {
			o.err = o.after()
		}
	}
}

// rules are the pipeline's current ones; those of one that was removed let its
// jobs run one after the other.
func (q *queue) rules() *definition.Pipeline {
	q.t.mu.Lock()
	defer q.t.mu.Unlock()
	if d := q.t.defs[q.name]; d != nil {
		return d.Pipeline
	}
	return &definition.Pipeline{}
}

// save writes the head at the revision it was read at.
func (q *queue) save(h waitlist.Head) error {
	h.Pipeline, h.Lease = q.name, q.t.lease.rev.Load()
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(body) > int(q.t.e.nc.MaxPayload())-1024 {
		return fmt.Errorf("the queue of pipeline %q is too long: %d jobs wait", q.name, len(h.Waiting))
	}
	rev, err := q.t.put(q.t.e.defs, kv.Write{Key: records.HeadKey(q.name), Body: body, Expect: q.rev, Create: q.rev == 0})
	if err != nil {
		return err
	}
	q.rev = rev
	q.head.Store(&h)
	return nil
}

// begin has a job that has left the queue start.
func (t *term) begin(id string) {
	t.tasks.Go(func() {
		j, err := t.readJob(id)
		if err != nil {
			if t.ctx.Err() == nil {
				t.e.log.Error("cannot read a job that is to start", "job", id, "error", err)
				t.end(err)
			}
			return
		}
		t.work(j, records.Input{})
	})
}

// endUnstarted makes the record of a job final that has never left the queue.
func endUnstarted(job *pb.Job, by, reason string) {
	job.Completed, job.Canceled, job.CanceledBy, job.Reason = true, true, by, reason
	job.End = stamp(now())
	job.CanceledAt = job.GetEnd()
	for _, task := range job.GetTasks() {
		if !graph.Status(task.GetStatus()).Final() {
			task.Status = string(graph.TaskCanceled)
		}
	}
}
