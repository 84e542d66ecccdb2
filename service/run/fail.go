package run

import (
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
)

// Fail records that the run of a submission is not to start: it is FAILED with a
// reason and an error, and its log has only its end. It takes no place. Nothing of
// the task itself needs to be right. If the run is there already, Fail returns
// that.
func (r *Runner) Fail(s Submission, reason, text string) (*pb.Run, error) {
	t := &ticket{granted: make(chan struct{}), returned: true} // of no place
	r.mu.Lock()
	if r.draining {
		r.mu.Unlock()
		return nil, ErrDraining
	}
	r.lives.Add(1)
	r.mu.Unlock()
	defer r.lives.Done()
	a := r.activeOf(t, s, terms{})
	a.end(&cause{pb.State_FAILED, reason, false, text})
	run, ours, err := r.claim(&Ticket{r: r, t: t}, a, s)
	if !ours {
		return run, err
	}
	defer r.forget(a)
	a.life()
	return a.snapshot(), nil
}

// CheckHost says what of a task can't be done on this host: a limit, a level of
// isolation, a language, or an account that isn't here.
func (r *Runner) CheckHost(t *pb.Task) error {
	if err := r.Check(t); err != nil {
		return err
	}
	if user := t.GetUser(); user != "" && !sandbox.HasAccount(user) {
		return fmt.Errorf("%w: no user %q here", ErrUnable, user)
	}
	return nil
}
