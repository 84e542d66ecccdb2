package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// terms are what a task asks for, read once before its record is made, so that
// what the request alone shows to be wrong, or what this host can't do, is
// refused and not a failed run.
type terms struct {
	params                  []string
	program                 *lang.Program // of a language task
	timeout, grace, expires time.Duration
	bounds                  bounds
	isolation               sandbox.Isolation
	compiler                limits.Set // what its compiler may have at most
}

// termsOf reads a task. Its errors are the request's fault (*pb.InvalidError) or
// say what this host can't do (ErrUnable).
func (r *Runner) termsOf(t *pb.Task) (p terms, err error) {
	var errs [8]error
	p.params, errs[0] = pb.Environ(t.GetParams())
	errs[6] = refuseMarker(p.params)
	p.timeout, errs[1] = pb.Duration("spec.task.timeout", t.GetTimeout(), 0)
	p.grace, errs[2] = pb.Duration("spec.task.grace", t.GetGrace(), t.DefaultGrace())
	p.expires, errs[3] = pb.Duration("spec.task.expires", t.GetExpires(), 0)
	p.bounds, errs[4] = boundsOf(t.GetLimits())
	p.compiler, errs[7] = compilerBounds(t.GetLanguage())
	p.isolation, errs[5] = sandbox.ParseIsolation(t.GetIsolation())
	if err := errors.Join(errs[:]...); err != nil {
		return terms{}, err
	}
	if user := t.GetUser(); p.isolation != sandbox.None && (user == "root" || user == "0") {
		return terms{}, pb.Invalid("spec.task.user: %q doesn't go with isolation %s", user, p.isolation)
	}
	if err := r.unable(p, t); err != nil {
		return terms{}, err
	}
	if t.GetLanguage() != nil {
		p.program, err = r.programOf(t)
	}
	return p, err
}

// refuseMarker: a run that has a marker of its own choice could hide its processes.
func refuseMarker(params []string) error {
	for _, entry := range params {
		if strings.HasPrefix(entry, sandbox.MarkerName+"=") {
			return pb.Invalid("spec.task.params: %s is reserved: the runner knows the processes of a run by it", sandbox.MarkerName)
		}
	}
	return nil
}

// Check says what is wrong with a task, as far as that can be known before it
// has a place.
func (r *Runner) Check(t *pb.Task) error {
	_, err := r.termsOf(t)
	return err
}

// unable says what of its terms this host can't do.
func (r *Runner) unable(p terms, t *pb.Task) error {
	if p.isolation != sandbox.None {
		r.Abilities() // so that Check knows
	}
	err := r.cfg.Host.Check(p.bounds.limits, p.isolation)
	switch {
	case err == nil:
		return nil
	case p.isolation != sandbox.None && t.GetLanguage() != nil && r.cfg.Host.Check(p.bounds.limits, sandbox.None) == nil:
		return fmt.Errorf("%w: %w; its operator may let languages run with less (policy.isolation.languageDefault)", ErrUnable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnable, err)
}

// Abilities is what this host can do. It is found out when it is first asked for.
func (r *Runner) Abilities() sandbox.Facts {
	r.probe.Do(func() { r.cfg.Host.Probe() })
	return r.cfg.Host.Facts()
}

// spec is a process of this run, less what it executes.
func (a *active) spec() sandbox.Spec {
	s := sandbox.Spec{
		ID: a.id, Env: a.r.cfg.Environ, Params: a.terms.params,
		Dir: a.task.GetDir(), Stdin: a.task.GetStdin(), User: a.task.GetUser(),
		Merge: a.task.GetLog().GetMerge(), Done: a.ended, Limits: a.terms.bounds.limits, Isolation: a.terms.isolation, Network: a.task.GetNetwork(),
	}
	if trace := a.trace; trace != "" { // an isolated run has no Env
		s.Params = append([]string{"TRACEPARENT=" + trace}, s.Params...)
	}
	return s
}

// A start is a process that is to begin, or why it can't.
type start struct {
	prepared *sandbox.Prepared // nil if err
	err      error
	// cleanUp is called when the process is over, or isn't to begin. Never nil.
	cleanUp func()
}

func (s start) begin() (*sandbox.Process, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.prepared.Start()
}

func (s start) isFar() bool { return s.prepared != nil && s.prepared.IsFar() }

func (s start) discard() {
	if s.prepared != nil {
		s.prepared.Discard()
	}
	s.cleanUp()
}

// startOf prepares a process that needs nothing but its spec.
func (a *active) startOf(spec sandbox.Spec) start {
	prepared, err := a.r.cfg.Host.Prepare(spec)
	return start{prepared, err, func() {}}
}

// prepare makes what the main process needs.
func (a *active) prepare() start {
	spec, cleanUp := a.spec(), func() {}
	if a.task.GetFile() != nil || spec.Dir == pb.OwnDir {
		dir, err := a.newDir()
		if err != nil {
			return start{nil, err, cleanUp}
		}
		cleanUp = func() { a.remove(dir) }
		if err := a.fill(dir, &spec); err != nil {
			return start{nil, err, cleanUp}
		}
	}
	switch {
	case a.task.GetFile() != nil:
	case len(a.task.GetCommands()) > 0:
		spec.Argv, spec.OwnProgram = shell(strings.Join(a.task.GetCommands(), " ")), true
	default:
		spec.Argv = slices.Clip(a.task.GetArgv())
	}
	s := a.startOf(spec)
	s.cleanUp = cleanUp
	a.task.File, a.task.Stdin = nil, nil // up to a megabyte each, and the run may live for days
	return s
}

// shell is the command line of shell text.
func shell(text string) []string {
	argv := []string{"bash", "-c"}
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		argv = append(argv, "--") // no option of bash's
	}
	return append(argv, text)
}

// prepareEarly begins to prepare a run that may start as soon as it is recorded,
// while NATS records it. Nothing of it can be seen but by the runner's own user.
func (a *active) prepareEarly() {
	if a.terms.program != nil || !a.hasSlot() {
		return
	}
	early := make(chan start, 1)
	a.early = early
	go func() { early <- a.prepare() }()
}

// prepareOnce is prepare, or what it has been early.
func (a *active) prepareOnce() start {
	if early := a.early; early != nil {
		a.early = nil
		return <-early
	}
	return a.prepare()
}

// discardEarly undoes prepareEarly where the run did not begin.
func (a *active) discardEarly() {
	if a.early != nil {
		a.prepareOnce().discard()
	}
}
