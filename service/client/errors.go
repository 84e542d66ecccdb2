package client

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/client/internal/link"
	"github.com/runnel-io/runnel/service/store"
)

// Conditions to test for with errors.Is. They match whether this package found
// the condition in the records or a runner answered so.
var (
	// ErrNoRunners: no runner is there to take the request.
	ErrNoRunners = link.ErrNoRunners
	// ErrNoAnswer: a runner was asked and did not answer in time. What it was
	// asked to do may be done all the same.
	ErrNoAnswer = link.ErrNoAnswer
	// ErrOffline: the runner that was named is not online.
	ErrOffline = link.ErrOffline
	// ErrNoMatch: no online runner matches the target.
	ErrNoMatch = link.ErrNoMatch
	// ErrOneOnly: the target means many, and the call is for one.
	ErrOneOnly = errors.New("the target means every runner")
	// ErrTooFew: fewer runners have answered than FanOptions.Expect.
	ErrTooFew = errors.New("fewer answers than expected")

	// ErrInvalid: the request is wrong as it is. 400.
	ErrInvalid = errors.New("invalid request")
	// ErrRefused: the runner's policy does not allow it. 403.
	ErrRefused = errors.New("refused by the runner's policy")
	// ErrUnknownRun: there is no record of a run with this id. 404.
	ErrUnknownRun = store.ErrUnknownRun
	// ErrUnknownRunner: there is no card of this name. 404.
	ErrUnknownRunner = store.ErrUnknownRunner
	// ErrUnknownJob: there is no job with this id. 404.
	ErrUnknownJob = errors.New("unknown job")
	// ErrUnknownPipeline: no pipeline of this name is defined. 404.
	ErrUnknownPipeline = errors.New("is not defined")
	// ErrNoEngine: no program of the fleet runs its pipelines.
	ErrNoEngine = errors.New("no pipeline engine answers")
	// ErrTooLate: the request reached the runner after its deadline, so it was not
	// carried out. 408.
	ErrTooLate = errors.New("asked too late")
	// ErrConflict: another request has the id, or the record was changed
	// meanwhile. 409.
	ErrConflict = store.ErrConflict
	// ErrLive: a run that has not ended, or a runner that is online, can't be
	// removed. 409.
	ErrLive = store.ErrLive
	// ErrTooLarge: the request or its record is too large. 413.
	ErrTooLarge = store.ErrTooLarge
	// ErrBusy: the runner has too many such requests at once; ask later. 429.
	ErrBusy = store.ErrBusy
	// ErrFull: the runner has no free slot and no room in its backlog. 503.
	ErrFull = errors.New("no resources available")
	// ErrDraining: the runner takes no new runs, since it is stopping. 503.
	ErrDraining = errors.New("draining")
)

// RemoteError is what a runner answered instead of a reply.
type RemoteError struct {
	// Runner that answered.
	Runner string
	// Code is HTTP-like.
	Code int
	// Text of the error.
	Text string
}

func (e *RemoteError) Error() string { return e.Text }

// conditions are the sentinels of a code. Those with words count only where the
// text has them: several conditions share a code.
var conditions = map[int][]struct {
	sentinel error
	words    string
}{
	400: {{sentinel: ErrInvalid}},
	403: {{sentinel: ErrRefused}},
	404: {{ErrUnknownRun, "unknown run id"}, {ErrUnknownRunner, "unknown runner"}, {ErrUnknownJob, ErrUnknownJob.Error()}, {ErrUnknownPipeline, ErrUnknownPipeline.Error()}},
	408: {{sentinel: ErrTooLate}},
	409: {{ErrLive, ErrLive.Error()}, {sentinel: ErrConflict}},
	413: {{sentinel: ErrTooLarge}},
	429: {{sentinel: ErrBusy}},
	503: {{ErrDraining, "draining"}, {ErrFull, "No resources available"}},
}

// Is finds the sentinel of what the runner answered.
func (e *RemoteError) Is(target error) bool {
	for _, condition := range conditions[e.Code] {
		if condition.words == "" || strings.Contains(e.Text, condition.words) {
			return target == condition.sentinel
		}
	}
	return false
}

// Code is a RemoteError's code, or 0.
func Code(err error) int {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Code
	}
	return 0
}

// PermissionError: the NATS server does not let this user do what a request
// needs. errors.Is finds nats.ErrPermissionViolation in it.
type PermissionError struct {
	// User as the connection has it; empty if it is not known here.
	User string
	// Subscribe instead of publish.
	Subscribe bool
	Subject   string
}

func (e *PermissionError) Error() string {
	what := "publish on"
	if e.Subscribe {
		what = "subscribe to"
	}
	return fmt.Sprintf("%s may not %s %s (docs/subjects.md)", cmp.Or(e.User, "this user"), what, e.Subject)
}

// Is finds the error that nats.go has for it.
func (e *PermissionError) Is(target error) bool { return target == nats.ErrPermissionViolation }
