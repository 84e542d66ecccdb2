package run

import (
	"context"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// A Submission is a request with what the envelope around it said.
type Submission struct {
	Request *pb.TaskRequest
	// Digest is that of the request as it came, before any policy.
	Digest string
	// Group is the id that the runs of a fan-out share; the run's own id is then
	// <group>-<runner>.
	Group string
	// Traceparent is the request's W3C trace context.
	Traceparent string
	// User who asks, as claimed.
	User string
	// HidesCommand: the record doesn't tell what was run.
	HidesCommand bool
	// Queued says that the run is an attempt of work from the queue; its id and
	// number are Attempt's.
	Queued  *pb.Queued
	Attempt int
	// Unasked: nobody waits for an answer, so the record may take as long as NATS
	// takes.
	Unasked bool
	// Turn, if set, returns when the run's turn has come, or ctx ends. It is called
	// once the run has its record; then the run takes a place. Admit it with AdmitLater.
	Turn func(ctx context.Context)
	// Missed, with Fail, is of which ticks of a schedule the record is.
	Missed Missed
}

// Missed is ticks of a schedule that have no run.
type Missed struct {
	Count    int
	From, To time.Time
}

// work is the id of the work that a submission from the queue is an attempt of.
func (s Submission) work() string { return s.Request.GetMetadata().GetId() }

// Headers gives the value of a header, or an empty text.
type Headers func(name string) string

// A Policy is what a submission is held to.
type Policy struct {
	// Hold refuses a task, or fills in its defaults and lowers what is above a
	// maximum.
	Hold func(*pb.Task) error
	// HidesCommands leaves out of records what was run.
	HidesCommands bool
}

// Submit makes a submission of a request that nobody waits for, such as one from
// a queue.
func (r *Runner) Submit(req *pb.TaskRequest, headers Headers, policy Policy) (Submission, error) {
	s, err := NewSubmission(req, headers)
	if err != nil {
		return Submission{}, err
	}
	err = r.Hold(&s, policy)
	return s, err
}

// NewSubmission reads a request and its headers. No policy has seen it yet.
func NewSubmission(req *pb.TaskRequest, headers Headers) (Submission, error) {
	digest, err := req.Digest()
	if err != nil {
		return Submission{}, err
	}
	s := Submission{Request: req, Digest: digest, Traceparent: subjects.Trace(headers(subjects.HeaderTrace)), User: subjects.User(headers(subjects.HeaderUser))}
	if s.Group = headers(subjects.HeaderGroup); s.Group != "" {
		if err := subjects.Token(s.Group); err != nil {
			return Submission{}, pb.Invalid("%s: %s", subjects.HeaderGroup, err)
		}
	}
	return s, nil
}

// Hold holds a submission to a policy, which knows languages by their own names
// and not by aliases.
func (r *Runner) Hold(s *Submission, policy Policy) error {
	task := s.Request.GetSpec().GetTask()
	if name, ok := r.cfg.Languages.Name(task.GetLanguage().GetName()); ok {
		task.Language.Name = name
	}
	s.HidesCommand = policy.HidesCommands
	return policy.Hold(task)
}
