package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/records"
)

// stored is a job and the revision of its record.
type stored struct {
	job *pb.Job
	rev uint64
}

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// saveJob writes a job's record at a revision, 0 for a new one.
func (t *term) saveJob(job *pb.Job, rev uint64) (uint64, error) {
	body, err := pb.MarshalJSON(job)
	if err != nil {
		return 0, err
	}
	next, err := t.put(t.e.jobs, kv.Write{Key: job.GetId(), Body: body, Expect: rev, Create: rev == 0})
	if err == nil {
		t.index.Put(proto.CloneOf(job))
	}
	return next, err
}

func (t *term) readJob(id string) (stored, error) {
	e, err := t.e.jobs.GetLeader(t.ctx, id)
	if errors.Is(err, kv.ErrNoKey) {
		return stored{}, fmt.Errorf("%w %s", client.ErrUnknownJob, id)
	}
	if err != nil {
		return stored{}, err
	}
	job, err := pb.JobOf(e.Body)
	return stored{job, e.Rev}, err
}

func (t *term) saveInput(id string, in records.Input) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, err = t.put(t.e.defs, kv.Write{Key: records.InputKey(id), Body: body, Create: true})
	return err
}

func (t *term) readInput(id string) (in records.Input, err error) {
	e, err := t.e.defs.GetLeader(t.ctx, records.InputKey(id))
	if err == nil {
		err = json.Unmarshal(e.Body, &in)
		if err == nil && in.Definition == nil {
			err = errors.New("there is none")
		}
		if err != nil {
			err = &unfitError{err}
		}
	}
	if errors.Is(err, kv.ErrNoKey) {
		err = &unfitError{err}
	}
	if err != nil {
		return in, fmt.Errorf("cannot read the definition of job %s: %w", id, err)
	}
	return in, nil
}
