package run

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/workdir"
)

// stepCompile is what records of the compiler's output say.
const stepCompile = "compile"

// isGood: the process ended by itself and says that all went well.
func (e ending) isGood() bool {
	return e.state == pb.State_COMPLETE && e.reason == pb.ReasonExit && e.status.ExitCode == 0
}

// compile fills dirs.Out, from the cache or by the compile step, whose failure
// is COMPLETE with reason compile. Its ending is good if the program can be run.
func (a *active) compile(dirs lang.Dirs, log *logs.Writer) ending {
	program, level, cache := a.terms.program, a.terms.isolation, a.r.cfg.Languages.Cache()
	if !a.mayShare() {
		cache = nil
	}
	if cache.Restore(program.Key(level), dirs.Out) {
		return ending{state: pb.State_COMPLETE, reason: pb.ReasonExit, compile: &pb.Step{Reason: pb.ReasonExit}}
	}
	if level != sandbox.None { // without isolation, the compiler could write to it
		if warm := program.Language().WarmDir(); warm != "" {
			dirs.Cache, dirs.CacheIsWarm = warm, true
		}
	}
	spec, b := a.specOf(program.CompileStep(dirs))
	lowered, _ := b.limits.Lower(a.terms.compiler)
	b = boundsIn(lowered)
	spec.Limits = b.limits
	spec.ID += ".compile"
	log.SetStep(stepCompile)
	e, said := a.runCompiler(spec, b, log)
	log.SetStep("")
	if !e.isGood() {
		return e
	}
	err := workdir.CheckOut(dirs.Out)
	if err == nil && a.isIsolated() {
		err = workdir.ShareOut(dirs.Out)
	}
	if errors.Is(err, workdir.ErrNothingMade) {
		return ending{state: pb.State_COMPLETE, reason: pb.ReasonCompile, err: err.Error(), status: sandbox.Status{ExitCode: 1}, compile: e.compile}
	}
	if err != nil {
		return ending{state: pb.State_FAILED, reason: pb.ReasonRejected, err: err.Error(), compile: e.compile}
	}
	if !said { // what it said is to be seen the next time, too
		if err := cache.Keep(program.Key(level), dirs.Out); err != nil {
			a.r.log.Warn("cannot keep a compiled program", "run", a.id, "error", err)
		}
	}
	return e
}

// mayShare says whether what the compiler makes follows from the source alone:
// not where something else could get at it (no isolation; an account that others
// may have), nor where it could get something from elsewhere.
func (a *active) mayShare() bool {
	return a.terms.isolation != sandbox.None && a.task.GetUser() == "" && !a.task.GetNetwork()
}

// runCompiler runs a compile step. Its own bounds end it and not the run. A nil
// log means that nobody wants to hear it; said tells whether there was anything.
func (a *active) runCompiler(spec sandbox.Spec, b bounds, log *logs.Writer) (e ending, said bool) {
	var ended atomic.Pointer[cause]
	end := func(c *cause) {
		if ended.CompareAndSwap(nil, c) {
			a.endProcess(c.gently)
		}
	}
	act := activity{prepare: func() start { return a.startOf(spec) }, wallTime: b.wallTime, end: end}
	if log != nil {
		out := a.output(log, b.outputBytes, end)
		act.quiet = log.Quiet
		act.out = func(stream int, data []byte) error {
			said = true
			return out(stream, data)
		}
	}
	began := time.Now()
	e = a.process(act)
	if e.state == pb.State_FAILED {
		return e, said
	}
	e.compile = &pb.Step{
		ExitCode: exitCode(e), Signal: e.status.SignalName(), Reason: e.reason, WallTime: time.Since(began).Seconds(),
		CpuTime: (e.status.CPUUser + e.status.CPUSystem).Seconds(), PeakMemory: e.status.PeakMemoryBytes,
	}
	c := ended.Load()
	if c != nil && e.state == pb.State_COMPLETE {
		e.compile.Reason = c.reason
		e.err = "the compiler was ended: " + c.reason
	}
	if e.state == pb.State_COMPLETE && (c != nil || !e.isGood()) {
		e.reason = pb.ReasonCompile
	}
	return e, said
}
