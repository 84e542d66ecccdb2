// Package endings says how a run ended: as an exit code, in a few words, in a
// sentence.
package endings

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
)

// Exit codes of `runnel run` and `runnel wait`, beside the run's own and 128+n
// for a signal.
const (
	exitTimeout = 124
	exitSignal  = 128
)

// BrokenPipe is the exit code of a command whose output nobody reads any more.
var BrokenPipe = exitSignal + lines.SignalNumber("SIGPIPE")

// Of is the end of a run as its record has it.
func Of(run *pb.Run) *lines.End {
	return &lines.End{
		State: run.GetState().String(), Reason: run.GetReason(), ExitCode: run.GetExitCode(), Signal: run.GetSignal(), Error: run.GetError(),
		Lines: run.GetLines(), Bytes: run.GetBytes(), SHA256: run.GetSha256(),
		Dropped: lines.Gap{Lines: run.GetDropped(), Bytes: run.GetDroppedBytes()},
	}
}

// Code is the exit code that tells of a run's end.
func Code(end *lines.End) int {
	if end == nil {
		return cli.ExitOwn
	}
	switch end.State {
	case pb.State_COMPLETE.String():
		if end.Reason == pb.ReasonOutputLimit { // whether it was killed or has seen it coming
			return exitSignal + lines.SignalNumber("SIGKILL")
		}
		if end.Signal != "" {
			return exitSignal + lines.SignalNumber(end.Signal)
		}
		if end.Reason == pb.ReasonCPULimit && end.ExitCode == 0 { // it ended before it could be killed
			return exitSignal + lines.SignalNumber("SIGKILL")
		}
		return int(end.ExitCode)
	case pb.State_TIMEDOUT.String():
		return exitTimeout
	case pb.State_ABORTED.String():
		return cli.ExitAborted
	}
	return cli.ExitOwn
}

// Briefly is a run's end in a few words, for a list: "exit 3", "SIGKILL",
// "after 30s".
func Briefly(end *lines.End) string {
	switch {
	case end == nil:
		return "lost"
	case end.Error != "" && end.State != pb.State_COMPLETE.String():
		return end.Error
	case end.State == pb.State_TIMEDOUT.String():
		return "timed out"
	case end.State == pb.State_ABORTED.String():
		return "aborted"
	case end.Reason == pb.ReasonOOM:
		return "out of memory"
	case end.Reason == pb.ReasonCPULimit:
		return "processor time is up"
	case end.Reason == pb.ReasonOutputLimit:
		return "output limit"
	case end.Reason == pb.ReasonCompile:
		return fmt.Sprintf("not compiled, exit %d", end.ExitCode)
	case end.State == pb.State_FAILED.String():
		return end.Reason
	case end.Signal != "":
		return end.Signal
	}
	return fmt.Sprintf("exit %d", end.ExitCode)
}

// Complaint says why a run did not end by itself, as a sentence about one
// runner; empty if it did.
func Complaint(end *lines.End, runner string, timeout time.Duration) string {
	on := ""
	if runner != "" {
		on = " on " + runner
	}
	switch {
	case end == nil:
		return "the run was lost" + on
	case end.State == pb.State_TIMEDOUT.String() && timeout > 0:
		return fmt.Sprintf("timed out after %s%s", timeout, on)
	case end.State == pb.State_TIMEDOUT.String():
		return "timed out" + on
	case end.State == pb.State_ABORTED.String():
		return "aborted" + on
	case end.State == pb.State_FAILED.String():
		text := end.Error
		if text == "" {
			text = "the run failed: " + end.Reason
		}
		return text + on
	case end.Reason == pb.ReasonOOM:
		return "out of memory: killed by " + end.Signal + on
	case end.Reason == pb.ReasonCPULimit:
		return "stopped at its limit of processor time" + on
	case end.Reason == pb.ReasonOutputLimit:
		return "stopped at its output limit" + on
	case end.Signal != "":
		return "killed by " + end.Signal + on
	}
	return ""
}

// Summary is an end with its figures: "COMPLETE, exit 0, 10,431 lines, 1.2 MB".
func Summary(end *lines.End) string {
	words := []string{end.State}
	if end.State == pb.State_COMPLETE.String() || end.Error != "" {
		words = append(words, Briefly(end))
	}
	words = append(words, term.Plural(int(end.Lines), "line"), term.Size(end.Bytes))
	if end.Dropped.Lines > 0 {
		words = append(words, humanize.Comma(end.Dropped.Lines)+" dropped")
	}
	return strings.Join(words, ", ")
}
