// Package oldjobs puts the jobs and logs of a prunner data directory into a
// fleet, once. It reads data.json and logs/ and changes nothing there.
package oldjobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
)

// oldJob is a job as data.json has it.
type oldJob struct {
	ID        string
	Pipeline  string
	Completed bool
	Canceled  bool
	Created   time.Time
	Start     *time.Time
	End       *time.Time
	Variables json.RawMessage
	User      string
	LastError *string
	Tasks     []oldTask
}

type oldTask struct {
	Name         string
	DependsOn    []string
	AllowFailure bool
	Status       string
	Start        *time.Time
	End          *time.Time
	Skipped      bool
	ExitCode     int32
	Errored      bool
	Error        *string
}

// errNone: there is no old data in the directory.
var errNone = errors.New("no old data")

// read gives the jobs of a data directory one by one: the file may be large.
func read(dir string, each func(oldJob) error) error {
	f, err := os.Open(filepath.Join(dir, "data.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return errNone
	}
	if err != nil {
		return err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	if err := expect(d, json.Delim('{')); err != nil {
		return notOurs(f.Name(), err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return notOurs(f.Name(), err)
		}
		if key != "Jobs" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return notOurs(f.Name(), err)
			}
			continue
		}
		if err := readList(d, each); err != nil {
			return notOurs(f.Name(), err)
		}
	}
	return nil
}

func notOurs(file string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: %w", file, err)
}

func readList(d *json.Decoder, each func(oldJob) error) error {
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t == nil:
		return nil // null
	case t != json.Delim('['):
		return fmt.Errorf("a list of jobs is expected, and not %v", t)
	}
	for d.More() {
		var job oldJob
		if err := d.Decode(&job); err != nil {
			return err
		}
		if err := each(job); err != nil {
			return err
		}
	}
	return expect(d, json.Delim(']'))
}

func expect(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%v is expected, and not %v", want, t)
	}
	return err
}

// record is the job as a fleet keeps it. What had not ended has been canceled: the
// process that ran it is gone.
func (o *oldJob) record() (*pb.Job, error) {
	id, err := uuid.Parse(o.ID)
	if err != nil {
		return nil, fmt.Errorf("job id %q: %w", o.ID, err)
	}
	job := &pb.Job{
		Id: id.String(), Pipeline: o.Pipeline, Completed: true, Canceled: o.Canceled || !o.Completed, Created: timestamppb.New(o.Created),
		Start: stamp(o.Start), End: stamp(o.End), User: o.User,
	}
	if text := string(o.Variables); text != "null" {
		job.VariablesJson = text
	}
	for i := range o.Tasks {
		task := o.task(i, job.GetId())
		if o.Tasks[i].Errored {
			job.Errored = true
			if job.LastError == "" {
				job.LastError = task.GetError()
			}
		}
		job.Tasks = append(job.Tasks, task)
	}
	if o.LastError != nil {
		job.LastError = *o.LastError
	}
	return job, nil
}

func (o *oldJob) task(i int, job string) *pb.JobTask {
	t := &o.Tasks[i]
	task := &pb.JobTask{
		Name: t.Name, Status: t.status(), Start: stamp(t.Start), End: stamp(t.End), ExitCode: t.ExitCode, AllowFailure: t.AllowFailure, Number: int32(i + 1),
	}
	for _, name := range t.DependsOn {
		if slices.ContainsFunc(o.Tasks, func(other oldTask) bool { return other.Name == name }) {
			task.DependsOn = append(task.DependsOn, name)
		}
	}
	if t.Error != nil {
		task.Error = *t.Error
	}
	if t.Start != nil {
		task.Attempt, task.Runs = 1, []string{fmt.Sprintf("%s-%d", job, i+1)}
	}
	return task
}

func (t *oldTask) status() string {
	switch {
	case t.Skipped:
		return "skipped"
	case t.Errored:
		return "error"
	case t.Status == "done", t.Status == "error", t.Status == "skipped":
		return t.Status
	}
	return "canceled"
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil || t.IsZero() {
		return nil
	}
	return timestamppb.New(*t)
}
