// Package jobs watches a job of a pipeline.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// Watched is the job.
type Watched struct {
	// Job as it is now.
	Job *pb.Job
	// Again reads it.
	Again func(context.Context) (*pb.Job, error)
	// Gone is the error if it is removed.
	Gone error
}

// Watch calls each with a job as it is and then with each change of it, until it has
// completed or each returns an error.
func Watch(ctx context.Context, l *link.Link, w Watched, each func(*pb.Job) error) error {
	if !stream.Tidies(l.NC) {
		return listen(ctx, l, w, each)
	}
	bucket, err := kv.Open(ctx, l.JS, kv.Config{Name: l.Space.JobsBucket(), Existing: true})
	if err != nil {
		return err
	}
	ctx, done := l.Deniable(ctx, l.Reading(subjects.BucketStream(l.Space.JobsBucket())))
	defer done()
	var failed error
	err = bucket.Watch(ctx, []string{w.Job.GetId()}, 0, func(e *kv.Entry) bool {
		if e == nil {
			return true
		}
		if e.Body == nil {
			failed = w.Gone
			return false
		}
		job, err := pb.JobOf(e.Body)
		if err == nil {
			err = each(job)
		}
		failed = err
		return err == nil && !job.GetCompleted()
	})
	return link.OrDenied(ctx, errors.Join(failed, err, ctx.Err()))
}

// jobLook is how often a job is looked at without being told of a change: what
// tells of it may be lost.
const jobLook = time.Second

// listen is Watch for a user that may not delete consumers, so that a watch
// would leave some: it asks for the job whenever that is written.
func listen(ctx context.Context, l *link.Link, w Watched, each func(*pb.Job) error) error {
	job := w.Job
	written := make(chan *nats.Msg, 64)
	sub, err := l.NC.ChanSubscribe(subjects.KeySubject(l.Space.JobsBucket(), job.GetId()), written)
	if err != nil {
		return fmt.Errorf("cannot watch job %s: %w", job.GetId(), err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	look := time.NewTicker(jobLook)
	defer look.Stop()
	for {
		if err := each(job); err != nil || job.GetCompleted() {
			return err
		}
		for last := job; proto.Equal(last, job); {
			select {
			case <-written:
			case <-look.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if job, err = w.Again(ctx); err != nil {
				return err
			}
		}
	}
}
