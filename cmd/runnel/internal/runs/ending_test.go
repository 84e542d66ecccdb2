package runs

import (
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
)

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		end       *lines.End
		code      int
		complaint string
	}{
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonExit}, 0, ""},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonExit, ExitCode: 3}, 3, ""},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonSignal, Signal: "SIGTERM"}, 143, "killed by SIGTERM on web1"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonSignal, Signal: "signal 34"}, 162, "killed by signal 34 on web1"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonOOM, Signal: "SIGKILL"}, 137, "out of memory: killed by SIGKILL on web1"},
		{&lines.End{State: "TIMEDOUT", Reason: pb.ReasonTimeout}, 124, "timed out after 1m0s on web1"},
		{&lines.End{State: "ABORTED", Reason: pb.ReasonAborted}, 130, "aborted on web1"},
		{&lines.End{State: "FAILED", Reason: pb.ReasonRejected, Error: "cannot x: y"}, 125, "cannot x: y on web1"},
		{&lines.End{State: "FAILED", Reason: pb.ReasonLost}, 125, "the run failed: lost on web1"},
		{nil, 125, "the run was lost on web1"},
	} {
		if got := exitOf(test.end); got != test.code {
			t.Errorf("%+v: got code %d, want %d", test.end, got, test.code)
		}
		if got := complaint(test.end, "web1", time.Minute); got != test.complaint {
			t.Errorf("%+v: got %q, want %q", test.end, got, test.complaint)
		}
	}
}
