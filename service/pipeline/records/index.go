package records

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// recent is how many ended jobs the index keeps whole; older ones are read when
// somebody asks.
const recent = 2000

// Index has every job's id in order of creation, and the records of those that
// are asked for most: what has not ended, and the newest of the rest.
type Index struct {
	mu   sync.Mutex
	rows []row // oldest first
	jobs map[string]*pb.Job
	// created is the place in rows, by id.
	created map[string]int64
	ended   []string // ids whose records are kept though they have ended, oldest first
}

// row is one job in the index.
type row struct {
	id, pipeline string
	created      int64
	end          int64 // 0: not ended
}

func NewIndex() *Index { return &Index{jobs: map[string]*pb.Job{}, created: map[string]int64{}} }

func compareRows(a, b row) int {
	return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.id, b.id))
}

func RowOf(job *pb.Job) row {
	r := row{id: job.GetId(), pipeline: job.GetPipeline(), created: job.GetCreated().AsTime().UnixNano()}
	if job.GetCompleted() {
		r.end = max(job.GetEnd().AsTime().UnixNano(), 1)
	}
	return r
}

// Put takes a job in, or replaces it. The index keeps the message.
func (x *Index) Put(job *pb.Job) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := RowOf(job)
	at, found := slices.BinarySearchFunc(x.rows, r, compareRows)
	ended := false
	if found {
		ended = x.rows[at].end != 0
		x.rows[at] = r
	} else {
		x.rows = slices.Insert(x.rows, at, r)
	}
	_, kept := x.jobs[r.id]
	x.jobs[r.id], x.created[r.id] = job, r.created
	if r.end == 0 || kept && ended {
		return
	}
	x.ended = append(x.ended, r.id)
	if len(x.ended) > recent {
		delete(x.jobs, x.ended[0])
		x.ended = x.ended[1:]
	}
}

func (x *Index) Remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, found := slices.BinarySearchFunc(x.rows, row{id: id, created: x.created[id]}, compareRows); found {
		x.rows = slices.Delete(x.rows, at, at+1)
	}
	if _, kept := x.jobs[id]; kept {
		x.ended = slices.DeleteFunc(x.ended, func(e string) bool { return e == id })
	}
	delete(x.jobs, id)
	delete(x.created, id)
}

// Get is a job's record if the index has it.
func (x *Index) Get(id string) *pb.Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.jobs[id]
}

// Knows says whether there is a job of that id.
func (x *Index) Knows(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, known := x.created[id]
	return known
}

// Page is the rows of a page, newest first, older than the cursor, and whether
// there are more.
func (x *Index) Page(pipeline string, before row, limit int) (rows []row, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	end := len(x.rows)
	if before.id != "" {
		end, _ = slices.BinarySearchFunc(x.rows, before, compareRows)
	}
	for i := end - 1; i >= 0; i-- {
		if pipeline != "" && x.rows[i].pipeline != pipeline {
			continue
		}
		if len(rows) == limit {
			return rows, true
		}
		rows = append(rows, x.rows[i])
	}
	return rows, false
}

// Outdated are the ended jobs of a pipeline that its retention gives up, and
// when the next one will be.
func (x *Index) Outdated(pipeline string, p *definition.Pipeline, at time.Time) (ids []string, next time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	kept, period := 0, time.Duration(p.RetentionPeriod)
	for i := len(x.rows) - 1; i >= 0; i-- {
		r := x.rows[i]
		if r.pipeline != pipeline || r.end == 0 {
			continue
		}
		expires := time.Unix(0, r.end).Add(period)
		switch {
		case p.RetentionCount > 0 && kept >= int(p.RetentionCount), period > 0 && !expires.After(at):
			ids = append(ids, r.id)
			continue
		case period > 0 && (next.IsZero() || expires.Before(next)):
			next = expires
		}
		kept++
	}
	return ids, next
}

// List reads a page of jobs, newest first.
func (x *Index) List(ctx context.Context, bucket *kv.Bucket, rows []row) ([]*pb.Job, error) {
	found := make(map[string]*pb.Job, len(rows))
	var keys []string
	for _, r := range rows {
		if job := x.Get(r.id); job != nil {
			found[r.id] = job
		} else {
			keys = append(keys, r.id)
		}
	}
	entries, err := bucket.GetMany(ctx, keys)
	if err != nil && len(keys) > 0 {
		return nil, err
	}
	jobs := make([]*pb.Job, 0, len(rows))
	for _, r := range rows {
		job := found[r.id]
		if e, ok := entries[r.id]; ok {
			if job, err = pb.JobOf(e.Body); err != nil {
				return nil, err
			}
		}
		if job != nil {
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

// cursor of a page of jobs.
func CursorOf(r row) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", r.created, r.id))
}

func ReadCursor(text string) (r row, err error) {
	if text == "" {
		return r, nil
	}
	body, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		_, err = fmt.Sscanf(string(body), "%d %s", &r.created, &r.id)
	}
	if err != nil {
		return r, pb.Invalid("invalid next: give back what the reply before had")
	}
	return r, nil
}

// EveryRun has the ids of the runs of all attempts of a task, of which only the
// last ones are in its record.
func EveryRun(job string, task *pb.JobTask) []string {
	last := task.RunID(job, task.GetAttempt())
	var all []string
	for attempt := int32(1); attempt <= task.GetAttempt(); attempt++ {
		id := task.RunID(job, attempt)
		if len(task.GetRuns()) == 0 {
			all = append(all, id)
		}
		for _, run := range task.GetRuns() {
			of := last
			for k := task.GetAttempt(); k > 0; k-- { // the longest that fits
				if of = task.RunID(job, k); run == of || strings.HasPrefix(run, of+"-") {
					break
				}
			}
			all = append(all, id+strings.TrimPrefix(run, of))
		}
	}
	return all
}
