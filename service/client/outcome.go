package client

import (
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// Outcome is how one run went, of Run or of RunAll.
type Outcome struct {
	// Run is the record as it was accepted.
	Run *pb.Run
	// Log is what following the output found.
	Log logs.FollowResult
	// Err: the end could not be seen. The run may go on.
	Err error
}

// End says how the run ended; nil while that is not known. A run whose runner was
// lost has an end in its record only: see Wait.
func (o Outcome) End() *lines.End { return o.Log.End }

// OK says that the run ended by itself with exit code 0.
func (o Outcome) OK() bool {
	end := o.Log.End
	return o.Err == nil && end != nil && end.State == pb.State_COMPLETE.String() && end.ExitCode == 0 && end.Signal == ""
}

// RunEvents are told what happens while runs go on, one call at a time. Any of
// them may be nil.
type RunEvents struct {
	// Accepted: a runner has taken a run.
	Accepted func(*pb.Run)
	// Record of a run's output, in its order, the last one included. An error
	// ends the following of this run and is its Outcome's; the run goes on.
	Record func(*pb.Run, lines.Record) error
	// Ended: a run's end is known.
	Ended func(Outcome)
}

func (e RunEvents) accepted(run *pb.Run) {
	if e.Accepted != nil {
		e.Accepted(run)
	}
}

func (e RunEvents) ended(o Outcome) {
	if e.Ended != nil {
		e.Ended(o)
	}
}

// record is what a follower is given for a run.
func (e RunEvents) record(run *pb.Run) func(lines.Record) error {
	if e.Record == nil {
		return nil
	}
	return func(r lines.Record) error { return e.Record(run, r) }
}
