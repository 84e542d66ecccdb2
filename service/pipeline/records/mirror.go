package records

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/waitlist"
	"github.com/runnel-io/runnel/subjects"
)

// Mirror is what any number of programs can know of the pipelines without
// asking the engine: it follows the records. A change is in it some milliseconds
// after it was stored. Make one with NewMirror, end it with Close.
type Mirror struct {
	bucket *kv.Bucket
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	defs    map[string]*Definition
	heads   map[string]waitlist.Head
	index   *Index
	revs    map[string]uint64
	defsRev uint64
	jobsRev uint64
	changed chan struct{} // closed and replaced at each change
	pending int           // watches that have not said everything yet
	ready   chan struct{}
}

// NewMirror begins to follow the records; see Ready. The buckets are made if
// they are missing.
func NewMirror(ctx context.Context, js jetstream.JetStream, prefix string, log *slog.Logger) (*Mirror, error) {
	space, err := subjects.New(prefix)
	if err != nil {
		return nil, err
	}
	defs, jobs, err := OpenBuckets(ctx, js, space, kv.Config{Logger: log})
	if err != nil {
		return nil, fmt.Errorf("cannot follow the pipelines: %w", err)
	}
	m := &Mirror{
		bucket: jobs, revs: map[string]uint64{}, changed: make(chan struct{}), ready: make(chan struct{}), pending: 2,
		defs: map[string]*Definition{}, heads: map[string]waitlist.Head{}, index: NewIndex(),
	}
	life, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	for _, w := range []struct {
		bucket *kv.Bucket
		keys   []string
		saw    func(kv.Entry)
	}{{defs, []string{"def.*", "head.*"}, m.sawDefinition}, {jobs, nil, m.sawJob}} {
		m.wg.Go(func() {
			err := w.bucket.Watch(life, w.keys, 0, func(e *kv.Entry) bool { m.take(e, w.saw); return true })
			if err != nil && life.Err() == nil && log != nil {
				log.Error("the pipelines are not followed any more", "error", err)
			}
		})
	}
	return m, nil
}

// Close ends the following.
func (m *Mirror) Close() {
	m.cancel()
	m.wg.Wait()
}

// Ready is closed when everything that was stored before has been read.
func (m *Mirror) Ready() <-chan struct{} { return m.ready }

func (m *Mirror) take(e *kv.Entry, saw func(kv.Entry)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e == nil {
		if m.pending--; m.pending == 0 {
			close(m.ready)
		}
		return
	}
	saw(*e)
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Mirror) sawDefinition(e kv.Entry) {
	m.defsRev = max(m.defsRev, e.Rev)
	if e.Body == nil {
		return
	}
	switch KindOfKey(e.Key) {
	case "def":
		if d, err := ReadDefinition(e); err == nil {
			m.defs[d.Name] = d
		}
	case "head":
		if h, err := ReadHead(e.Body); err == nil {
			m.heads[h.Pipeline] = h
		}
	}
}

func (m *Mirror) sawJob(e kv.Entry) {
	if e.Rev <= m.jobsRev && e.Rev <= m.revs[e.Key] {
		return // again, after a reconnect
	}
	m.jobsRev = max(m.jobsRev, e.Rev)
	if e.Body == nil {
		m.index.Remove(e.Key)
		delete(m.revs, e.Key)
		return
	}
	if job, err := pb.JobOf(e.Body); err == nil {
		m.index.Put(job)
		m.revs[e.Key] = e.Rev
	}
}

// Pipelines lists the pipelines by name.
func (m *Mirror) Pipelines() []*pb.Pipeline { return m.list("") }

func (m *Mirror) list(one string) []*pb.Pipeline {
	m.mu.Lock()
	defer m.mu.Unlock()
	return ListPipelines(m.defs, func(name string) waitlist.Head { return m.heads[name] }, one)
}

// Pipeline is one with its definition, or nil.
func (m *Mirror) Pipeline(name string) *pb.Pipeline {
	all := m.list(name)
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// Definition is a pipeline without values of env files, or nil. It is not to be changed.
func (m *Mirror) Definition(name string) *definition.Pipeline {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.defs[name]; d != nil {
		return d.Pipeline
	}
	return nil
}

// Placed says of jobs that wait where and why; the others are as they are.
func (m *Mirror) Placed(jobs []JobAt) []*pb.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, at := make([]*pb.Job, len(jobs)), time.Now()
	for i, j := range jobs {
		all[i] = j.Job
		head := m.heads[j.Job.GetPipeline()]
		if _, waits := head.IsWaiting(j.Job.GetId()); waits && !j.Job.GetCompleted() {
			all[i] = proto.CloneOf(j.Job)
			Place(all[i], head, m.defs[j.Job.GetPipeline()], at)
		}
	}
	return all
}

// Ended is the record of a job that has ended, which does not change any more; nil
// if it is not known that it has, or the record is not at hand.
func (m *Mirror) Ended(id string) *pb.Job {
	if job := m.index.Get(id); job.GetCompleted() {
		return job
	}
	return nil
}

// JobAt is a job and the revision of its record.
type JobAt struct {
	Job *pb.Job
	Rev uint64
}

// Jobs are those that have not ended, and the newest of the others up to a
// number: newest first.
func (m *Mirror) Jobs(ctx context.Context, others int) ([]JobAt, error) {
	m.mu.Lock()
	var rows []row
	all, _ := m.index.Page("", row{}, len(m.revs))
	for _, r := range all {
		if r.end != 0 {
			if others == 0 {
				continue
			}
			others--
		}
		rows = append(rows, r)
	}
	m.mu.Unlock()
	return m.read(ctx, rows)
}

// Page is a page of jobs, newest first, and the cursor of the next one.
func (m *Mirror) Page(ctx context.Context, pipeline, next string, limit int) ([]JobAt, string, error) {
	before, err := ReadCursor(next)
	if err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	rows, more := m.index.Page(pipeline, before, limit)
	m.mu.Unlock()
	jobs, err := m.read(ctx, rows)
	if err != nil || !more || len(rows) == 0 {
		return jobs, "", err
	}
	return jobs, CursorOf(rows[len(rows)-1]), nil
}

func (m *Mirror) read(ctx context.Context, rows []row) ([]JobAt, error) {
	jobs, err := m.index.List(ctx, m.bucket, rows)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]JobAt, len(jobs))
	for i, job := range jobs {
		all[i] = JobAt{job, m.revs[job.GetId()]}
	}
	return all, nil
}

// Revision tells versions of everything here apart; it is the same in every
// program that has read as far.
func (m *Mirror) Revision() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%d.%d", m.defsRev, m.jobsRev)
}

// Changed is closed at the next change.
func (m *Mirror) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// WaitFor returns when a job's record is in the mirror, or ctx ends.
func (m *Mirror) WaitFor(ctx context.Context, id string) {
	for {
		m.mu.Lock()
		_, known := m.revs[id]
		changed := m.changed
		m.mu.Unlock()
		if known {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
