package endings

import (
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
)

// A record's end is the one that its log would have told.
func TestEndOfARecord(t *testing.T) {
	got := Of(&pb.Run{
		State: pb.State_COMPLETE, Reason: pb.ReasonSignal, ExitCode: 143, Signal: "SIGTERM", Error: "x", Lines: 3, Bytes: 30, Sha256: "ab", Dropped: 2, DroppedBytes: 20,
	})
	if got.State != "COMPLETE" || got.Reason != pb.ReasonSignal || got.ExitCode != 143 || got.Signal != "SIGTERM" || got.Error != "x" {
		t.Errorf("got %+v", got)
	}
	if got.Lines != 3 || got.Bytes != 30 || got.SHA256 != "ab" || got.Dropped.Lines != 2 || got.Dropped.Bytes != 20 {
		t.Errorf("got %+v", got)
	}
}

// What was stopped at a limit has not succeeded, whether it was killed or has seen it
// coming.
func TestCodesOfLimits(t *testing.T) {
	for name, c := range map[string]struct {
		end  lines.End
		want int
	}{
		"output, killed":        {lines.End{State: "COMPLETE", Reason: pb.ReasonOutputLimit, Signal: "SIGKILL"}, 137},
		"output, ended":         {lines.End{State: "COMPLETE", Reason: pb.ReasonOutputLimit}, 137},
		"output, with a code":   {lines.End{State: "COMPLETE", Reason: pb.ReasonOutputLimit, ExitCode: 3}, 137},
		"processor, killed":     {lines.End{State: "COMPLETE", Reason: pb.ReasonCPULimit, Signal: "SIGXCPU"}, 152},
		"processor, ended":      {lines.End{State: "COMPLETE", Reason: pb.ReasonCPULimit}, 137},
		"processor, and a code": {lines.End{State: "COMPLETE", Reason: pb.ReasonCPULimit, ExitCode: 3}, 3},
		"not compiled":          {lines.End{State: "COMPLETE", Reason: pb.ReasonCompile, ExitCode: 1}, 1},
		"nothing known":         {lines.End{}, 125},
		"still on":              {lines.End{State: "RUNNING"}, 125},
	} {
		if got := Code(&c.end); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if BrokenPipe != 141 {
		t.Errorf("a broken pipe: got %d, want 141", BrokenPipe)
	}
}

// Only a run that ended well by itself has the code 0, and then there is nothing to
// complain of.
func TestZeroMeansWell(t *testing.T) {
	states := []string{"COMPLETE", "FAILED", "ABORTED", "TIMEDOUT", "RUNNING", ""}
	reasons := []string{"", pb.ReasonExit, pb.ReasonSignal, pb.ReasonOOM, pb.ReasonLost, pb.ReasonOutputLimit, pb.ReasonCPULimit}
	check := func(state, reason, code uint8, killed bool) bool {
		end := &lines.End{State: states[int(state)%len(states)], Reason: reasons[int(reason)%len(reasons)], ExitCode: int32(code % 3)}
		if killed {
			end.Signal = "SIGKILL"
		}
		got := Code(end)
		well := end.State == "COMPLETE" && end.ExitCode == 0 && end.Signal == "" && end.Reason != pb.ReasonOutputLimit && end.Reason != pb.ReasonCPULimit
		return (got == 0) == well && got >= 0 && got < 256
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestComplaintsInWords(t *testing.T) {
	for _, c := range []struct {
		end     *lines.End
		runner  string
		timeout time.Duration
		want    string
	}{
		{nil, "", 0, "the run was lost"},
		{&lines.End{State: "TIMEDOUT"}, "web1", 0, "timed out on web1"},
		{&lines.End{State: "TIMEDOUT"}, "", 90 * time.Second, "timed out after 1m30s"},
		{&lines.End{State: "ABORTED"}, "", 0, "aborted"},
		{&lines.End{State: "FAILED", Reason: "expired"}, "", 0, "the run failed: expired"},
		{&lines.End{State: "FAILED", Error: "cannot start x"}, "", 0, "cannot start x"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonCPULimit, Signal: "SIGKILL"}, "web1", 0, "stopped at its limit of processor time on web1"},
		{&lines.End{State: "COMPLETE", Reason: pb.ReasonOutputLimit}, "web1", 0, "stopped at its output limit on web1"},
		{&lines.End{State: "COMPLETE", Signal: "SIGSEGV"}, "", 0, "killed by SIGSEGV"},
		{&lines.End{State: "COMPLETE", ExitCode: 3}, "web1", time.Second, ""},
	} {
		if got := Complaint(c.end, c.runner, c.timeout); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.end, got, c.want)
		}
	}
}

func TestSummaries(t *testing.T) {
	for want, end := range map[string]*lines.End{
		"COMPLETE, exit 0, 0 lines, 0 B":               {State: "COMPLETE"},
		"COMPLETE, SIGKILL, 1 line, 5 B":               {State: "COMPLETE", Signal: "SIGKILL", Lines: 1, Bytes: 5},
		"TIMEDOUT, 2 lines, 1.2 MB":                    {State: "TIMEDOUT", Lines: 2, Bytes: 1_200_000},
		"FAILED, no such program, 0 lines, 0 B":        {State: "FAILED", Error: "no such program"},
		"ABORTED, 10 lines, 0 B, 1,000 dropped":        {State: "ABORTED", Lines: 10, Dropped: lines.Gap{Lines: 1000}},
		"COMPLETE, out of memory, 0 lines, 0 B":        {State: "COMPLETE", Reason: pb.ReasonOOM, Signal: "SIGKILL"},
		"COMPLETE, not compiled, exit 1, 0 lines, 0 B": {State: "COMPLETE", Reason: pb.ReasonCompile, ExitCode: 1},
	} {
		if got := Summary(end); got != want || strings.Contains(got, "\n") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
