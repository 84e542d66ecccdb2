//go:build unix

package run

import (
	"fmt"
	"os"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

func bytesValue(text string) *structpb.Value { return structpb.NewStringValue(text) }

// closeLog gives a run's log its end, as the life does before it writes the record.
func (b *bench) closeLog(run *pb.Run, text string, end lines.End) {
	b.t.Helper()
	log := logs.Open(b.logConfig(run))
	if text != "" {
		if err := log.Write(lines.Stdout, []byte(text)); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := log.Close(b.t.Context(), end); err != nil {
		b.t.Fatal(err)
	}
}

// A log that has its end tells how the run ended: only its record was late.
func TestRecoverTakesTheLogsWord(t *testing.T) {
	b := newBench(t, nil)
	a := b.owned("late", pb.State_RUNNING)
	b.closeLog(a.run, "hello\n", lines.End{State: "COMPLETE", Reason: pb.ReasonExit, ExitCode: 3})
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := b.end()
	if run.GetState() != pb.State_COMPLETE || run.GetExitCode() != 3 || run.GetLines() != 1 || run.GetBytes() != 6 || !run.GetLogComplete() {
		t.Errorf("got %v", run)
	}
}

// Every run that is left is marked, however many; those of others are not.
func TestRecoverMany(t *testing.T) {
	b := newBench(t, nil)
	const n = 20 // more than are closed at once
	for i := range n {
		b.owned(fmt.Sprint("left-", i), []pb.State{pb.State_RUNNING, pb.State_PENDING}[i%2])
	}
	other := b.recordOf("other", "web2", pb.State_RUNNING)
	if _, err := b.cfg.Store.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range n {
		run := b.end()
		if seen[run.GetId()] = true; run.GetState() != pb.State_FAILED || run.GetReason() != pb.ReasonLost || run.GetEnded() == nil {
			t.Errorf("got %v", run)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d were told", len(seen), n)
	}
	if got := b.stored("other").GetState(); got != pb.State_RUNNING {
		t.Errorf("the other runner's is %s", got)
	}
}

// Spools that belong to no live run are removed.
func TestRecoverRemovesSpools(t *testing.T) {
	b := newBench(t, nil)
	if err := os.WriteFile(b.spoolPath("old"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := b.SpoolBytes(); n != 5 {
		t.Errorf("spools have %d bytes", n)
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.SpoolBytes(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// A run that ended well is not marked lost by who thinks its runner dead.
func TestMarkLostOfEnded(t *testing.T) {
	b := newBench(t, nil)
	run := b.mustStart("well", argv("true"))
	b.end()
	if err := b.MarkLost(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if got := b.stored("well"); got.GetState() != pb.State_COMPLETE || got.GetReason() != pb.ReasonExit {
		t.Errorf("got %v", got)
	}
	if len(b.ended) > 0 {
		t.Error("its end was told twice")
	}
}

// A log's end is the run's, whoever closes its record.
func TestFillFrom(t *testing.T) {
	for _, c := range []struct {
		end      lines.End
		state    pb.State
		complete bool
	}{
		{lines.End{State: "COMPLETE", Reason: pb.ReasonSignal, Signal: "SIGSEGV"}, pb.State_COMPLETE, true},
		{lines.End{State: "TIMEDOUT", Reason: pb.ReasonTimeout, Lines: 4, Dropped: lines.Gap{Lines: 2}}, pb.State_TIMEDOUT, true},
		{lostEnd("its runner is gone"), pb.State_FAILED, false},
	} {
		run := &pb.Run{State: pb.State_RUNNING, Aborting: true}
		fillFrom(run, c.end)
		if run.GetState() != c.state || run.GetReason() != c.end.Reason || run.GetSignal() != c.end.Signal || run.GetError() != c.end.Error {
			t.Errorf("%v: got %v", c.end, run)
		}
		if run.GetLogComplete() != c.complete || run.GetAborting() || run.GetLines() != c.end.Lines || run.GetDropped() != c.end.Dropped.Lines {
			t.Errorf("%v: got %v", c.end, run)
		}
	}
}
