package pb

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// Bounds of work for the queue.
const (
	// MaxQueueID bounds an id of work: attempts add a suffix to it.
	MaxQueueID  = 48
	maxRetries  = 100
	maxKeyBytes = 128
	// maxBackoff bounds what doubling makes of a backoff.
	maxBackoff = time.Hour
)

// Causes are what can end an attempt so that another follows.
var causes = []string{"lost", "exit", "signal", "timeout", "oom"}

// Retries is Task.retries, read.
type Retries struct {
	// Max is how many attempts there may be beyond the first.
	Max int
	// Backoff is the wait before the second attempt; it doubles with each one, up
	// to an hour.
	Backoff time.Duration
	// On are the causes that count.
	On []string
}

// Wait is the time before an attempt, from the second on.
func (r Retries) Wait(attempt int) time.Duration {
	d := r.Backoff
	for range attempt - 2 {
		if d *= 2; d > maxBackoff {
			return max(maxBackoff, r.Backoff)
		}
	}
	return d
}

// RetryTerms reads retries: a number, or an object.
func (t *Task) RetryTerms() (Retries, error) {
	r := Retries{On: causes[:1]}
	const field = "spec.task.retries"
	switch kind := t.GetRetries().GetKind().(type) {
	case nil:
		return Retries{}, nil
	case *structpb.Value_NumberValue:
		return r, readCount(field, kind.NumberValue, &r.Max)
	case *structpb.Value_StructValue:
		return r, r.read(kind.StructValue)
	}
	return r, invalid("%s: it must be a number or an object with max, backoff and on", field)
}

func (r *Retries) read(s *structpb.Struct) (err error) {
	const field = "spec.task.retries."
	for name, v := range s.GetFields() {
		switch name {
		case "max":
			n, ok := v.GetKind().(*structpb.Value_NumberValue)
			if !ok {
				return invalid(field + "max: it must be a number")
			}
			err = readCount(field+"max", n.NumberValue, &r.Max)
		case "backoff":
			text, ok := v.GetKind().(*structpb.Value_StringValue)
			if !ok {
				return invalid(field + "backoff: it must be a duration such as \"10s\"")
			}
			r.Backoff, err = Duration(field+"backoff", text.StringValue, 0)
		case "on":
			err = r.readCauses(v)
		default:
			return invalid(field+"%s: no such field: there are max, backoff and on", clip(name))
		}
		if err != nil {
			return err
		}
	}
	if _, ok := s.GetFields()["max"]; !ok {
		return invalid(field + "max is missing")
	}
	return nil
}

func (r *Retries) readCauses(v *structpb.Value) error {
	list, ok := v.GetKind().(*structpb.Value_ListValue)
	if !ok {
		return invalid("spec.task.retries.on: it must be a list of %s", strings.Join(causes, ", "))
	}
	r.On = nil
	for _, v := range list.ListValue.GetValues() {
		cause := v.GetStringValue()
		if !slices.Contains(causes, cause) {
			return invalid("spec.task.retries.on: %q must be one of %s", clip(cause), strings.Join(causes, ", "))
		}
		r.On = append(r.On, cause)
	}
	if len(r.On) == 0 {
		r.On = causes[:1]
	}
	return nil
}

func readCount(field string, n float64, to *int) error {
	if n != math.Trunc(n) || n < 0 || n > maxRetries {
		return invalid("%s: %v must be a whole number from 0 to %d", field, n, maxRetries)
	}
	*to = int(n)
	return nil
}

// validateQueue checks what is the queue's alone.
func (t *Task) validateQueue() error {
	if _, err := t.RetryTerms(); err != nil {
		return err
	}
	if _, err := Duration("spec.task.delay", t.GetDelay(), 0); err != nil {
		return err
	}
	if t.GetNotBefore() != nil && !t.GetNotBefore().IsValid() {
		return invalid("spec.task.notBefore: it is no time")
	}
	c := t.GetConcurrency()
	switch {
	case c == nil:
	case c.GetKey() == "" || len(c.GetKey()) > maxKeyBytes:
		return invalid("spec.task.concurrency.key: it must be 1 to %d bytes", maxKeyBytes)
	case c.GetMax() < 1:
		return invalid("spec.task.concurrency.max: %d must be at least 1", c.GetMax())
	}
	return nil
}

// RefuseQueue refuses what only work of the queue can have.
func (t *Task) RefuseQueue() error {
	for _, f := range []struct {
		name string
		has  bool
	}{{"retries", t.GetRetries() != nil}, {"delay", t.GetDelay() != ""}, {"notBefore", t.GetNotBefore() != nil}, {"concurrency", t.GetConcurrency() != nil}} {
		if f.has {
			return invalid("spec.task.%s: only work of the queue has it: publish the task there", f.name)
		}
	}
	return nil
}

// CheckQueueID refuses an id that work of the queue can't have: an attempt's id
// is made of it.
func CheckQueueID(id string) error {
	switch {
	case id == "" || !validID(id):
		return invalid("metadata.id: %q must be letters, digits, \"-\" and \"_\"", clip(id))
	case len(id) > MaxQueueID:
		return invalid("metadata.id: %q must be at most %d characters in the queue", clip(id), MaxQueueID)
	case WorkOf(id) != id:
		return invalid("metadata.id: %q ends as the ids of attempts do (-a2): use another one in the queue", id)
	}
	return nil
}

// AttemptID is the id of an attempt's run, of the work's id for the first.
func AttemptID(work string, attempt int) string {
	if attempt <= 1 {
		return work
	}
	return fmt.Sprintf("%s-a%d", work, attempt)
}

// WorkOf is the id of the work that an id is an attempt of: itself, unless it
// ends as those of attempts do.
func WorkOf(id string) string {
	digits := strings.TrimRight(id, "0123456789")
	if work, ok := strings.CutSuffix(digits, "-a"); ok && digits != id && work != "" {
		return work
	}
	return id
}

// Cause says what ended a run, as far as retries know it: lost, exit, signal,
// timeout or oom. Empty: none of these, or it succeeded.
func (r *Run) Cause() string {
	switch {
	case r.GetState() == State_ABORTED:
		return ""
	case r.GetState() == State_TIMEDOUT:
		return "timeout"
	case r.GetReason() == ReasonLost, r.GetReason() == ReasonOOM:
		return r.GetReason()
	case r.GetState() != State_COMPLETE:
		return ""
	case r.GetReason() == ReasonSignal:
		return ReasonSignal
	case r.GetReason() == ReasonExit && r.GetExitCode() != 0:
		return ReasonExit
	}
	return ""
}

// NextAttempt is the id of the attempt that follows a final run, if its work has
// one left for what ended it.
func (r *Run) NextAttempt() string {
	q := r.GetQueued()
	if q == nil || int(r.GetAttempt()) > int(q.GetRetries()) || !slices.Contains(q.GetOn(), r.Cause()) {
		return ""
	}
	return AttemptID(r.GetGroup(), int(r.GetAttempt())+1)
}

// Succeeded says that a run ended by itself with exit code 0.
func (r *Run) Succeeded() bool {
	return r.GetState() == State_COMPLETE && r.GetExitCode() == 0 && r.GetSignal() == ""
}
