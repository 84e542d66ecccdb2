package run

import (
	"sync"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
)

// ending is how a run ended, before its log is closed.
type ending struct {
	state   pb.State
	reason  string
	err     string
	status  sandbox.Status
	compile *pb.Step // of a language that is compiled
}

// execute prepares and runs the run's processes, and says how it ended.
func (a *active) execute(log *logs.Writer) ending {
	if a.terms.program != nil {
		return a.executeProgram(log)
	}
	return a.process(activity{prepare: a.prepareOnce, slow: a.early != nil || a.task.GetFile().GetGzip(), out: a.output(log, a.terms.bounds.outputBytes, a.end), quiet: log.Quiet})
}

// activity is one process of a run.
type activity struct {
	// prepare is called when the process may start.
	prepare func() start
	// slow: it takes longer than others should wait at the gate.
	slow  bool
	out   func(stream int, data []byte) error
	quiet func(idle bool) bool
	// wallTime ends it by calling end, if it is not 0.
	wallTime time.Duration
	end      func(*cause)
}

// process takes one process from its start to its end.
func (a *active) process(act activity) ending {
	if act.slow {
		s := act.prepare()
		defer func() { s.discard() }()
		act.prepare = func() (early start) {
			early, s = s, start{cleanUp: func() {}}
			return early
		}
	}
	select {
	case a.r.start <- struct{}{}:
	case <-a.ended:
		return a.endedBeforeStart()
	}
	if a.named() != nil { // the gate was open, too
		<-a.r.start
		return a.endedBeforeStart()
	}
	if act.wallTime > 0 {
		timer := time.AfterFunc(act.wallTime, func() { act.end(causeWallTime) })
		defer timer.Stop()
	}
	s := act.prepare()
	defer s.cleanUp()
	leave := sync.OnceFunc(func() { <-a.r.start })
	if s.isFar() { // others must not wait for a mount that hangs
		leave()
	}
	proc, err := s.begin()
	leave()
	if err != nil {
		if a.named() != nil {
			return a.endedBeforeStart()
		}
		return ending{state: pb.State_FAILED, reason: pb.ReasonRejected, err: err.Error()}
	}
	a.hold(proc)
	status, err := proc.Pump(act.out, act.quiet)
	a.hold(nil)
	if err != nil {
		return ending{state: pb.State_FAILED, reason: pb.ReasonLost, err: err.Error(), status: status}
	}
	return endOf(status, a.named())
}

// hold lets others end the process; nil: there is none.
func (a *active) hold(proc *sandbox.Process) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proc = proc
	a.signal() // a cause that was named while it started
}

// endProcess ends the process that there is, if any, and not the run.
func (a *active) endProcess(gently bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.proc == nil:
	case gently:
		a.proc.Terminate(a.grace)
	default:
		a.proc.Kill()
	}
}

func (a *active) endedBeforeStart() ending {
	return endOf(sandbox.Status{}, a.named())
}

// output hands what a process prints to the log. When that is more than limit,
// unless that is 0, it ends the process, and the rest is thrown away.
func (a *active) output(log *logs.Writer, limit int64, end func(*cause)) func(int, []byte) error {
	var seen int64
	return func(stream int, data []byte) error {
		if limit > 0 {
			left := limit - seen
			seen += int64(len(data))
			if int64(len(data)) > left {
				end(causeOutputLimit)
				data = data[:max(0, left)]
			}
		}
		if len(data) == 0 {
			return nil
		}
		return log.Write(lines.Stream(stream), data)
	}
}

// endOf is the state that follows from how the process ended and who, if
// anybody, ended it.
func endOf(status sandbox.Status, c *cause) ending {
	e := ending{state: pb.State_COMPLETE, reason: pb.ReasonExit, status: status}
	switch {
	case c != nil:
		e.state, e.reason, e.err = c.state, c.reason, c.text
	case status.OOM:
		e.reason = pb.ReasonOOM
	case status.CPULimit:
		e.reason = pb.ReasonCPULimit
	case status.Signal != 0:
		e.reason = pb.ReasonSignal
	}
	return e
}
