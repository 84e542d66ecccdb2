package pipeline

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/records"
)

func sizeOf(job *pb.Job) int { return proto.Size(job) + 16 }

// retain removes the jobs that a pipeline keeps no longer, with their logs, and
// comes back when the next one's time is over.
func (t *term) retain(pipeline string) {
	p := t.queue(pipeline).rules()
	if p.RetentionCount == 0 && p.RetentionPeriod == 0 {
		return
	}
	ids, next := t.index.Outdated(pipeline, p, now())
	for _, id := range ids {
		if err := t.removeJob(id); err != nil {
			if t.ctx.Err() == nil {
				t.e.log.Warn("cannot remove an old job; it is tried again after the next one", "job", id, "error", err)
			}
			return
		}
	}
	if next.IsZero() {
		return
	}
	t.retainAt(pipeline, next)
}

// retainAt comes back to a pipeline's old jobs, once for the nearest time.
func (t *term) retainAt(pipeline string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[pipeline]
	if q == nil || t.ctx.Err() != nil {
		return
	}
	if q.retention != nil {
		q.retention.Stop()
	}
	q.retention = time.AfterFunc(time.Until(at)+time.Millisecond, func() {
		if t.ctx.Err() == nil {
			t.retain(pipeline)
		}
	})
}

// removeJob removes the runs of a job, log first, and then the job.
func (t *term) removeJob(id string) error {
	j, err := t.readJob(id)
	if errors.Is(err, client.ErrUnknownJob) {
		t.index.Remove(id)
		return nil
	}
	if err != nil {
		return err
	}
	for _, task := range j.job.GetTasks() {
		if task.GetKept() {
			continue // the runs are another job's
		}
		for _, run := range records.EveryRun(id, task) {
			if err := t.e.client.Remove(t.ctx, run); err != nil && !errors.Is(err, client.ErrUnknownRun) {
				return err
			}
		}
	}
	if e, err := t.e.defs.GetLeader(t.ctx, records.InputKey(id)); err == nil {
		if err := t.e.defs.Delete(t.ctx, records.InputKey(id), e.Rev, 0); err != nil {
			return err
		}
	} else if !errors.Is(err, kv.ErrNoKey) {
		return err
	}
	if err := t.e.jobs.Delete(t.ctx, id, j.rev, 0); err != nil {
		return t.fenced(err)
	}
	t.index.Remove(id)
	return nil
}
