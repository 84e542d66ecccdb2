package endings

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
		if got := Code(test.end); got != test.code {
			t.Errorf("%+v: got code %d, want %d", test.end, got, test.code)
		}
		if got := Complaint(test.end, "web1", time.Minute); got != test.complaint {
			t.Errorf("%+v: got %q, want %q", test.end, got, test.complaint)
		}
	}
}

func TestEndsInAFewWords(t *testing.T) {
	for _, c := range []struct {
		end  *lines.End
		want string
	}{
		{nil, "lost"},
		{&lines.End{State: "COMPLETE"}, "exit 0"},
		{&lines.End{State: "COMPLETE", ExitCode: 3}, "exit 3"},
		{&lines.End{State: "COMPLETE", Signal: "SIGSEGV"}, "SIGSEGV"},
		{&lines.End{State: "COMPLETE", Signal: "SIGKILL", Reason: pb.ReasonOOM}, "out of memory"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonCPULimit}, "processor time is up"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonOutputLimit}, "output limit"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonCompile, ExitCode: 2}, "not compiled, exit 2"},
		{&lines.End{State: "TIMEDOUT"}, "timed out"},
		{&lines.End{State: "ABORTED"}, "aborted"},
		{&lines.End{State: "FAILED", Reason: "start"}, "start"},
		{&lines.End{State: "FAILED", Reason: "start", Error: "no such program"}, "no such program"},
	} {
		if got := Briefly(c.end); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.end, got, c.want)
		}
	}
	end := &lines.End{State: "COMPLETE", ExitCode: 1, Lines: 1, Bytes: 1200}
	end.Dropped.Lines = 1234
	if got, want := Summary(end), "COMPLETE, exit 1, 1 line, 1.2 kB, 1,234 dropped"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
