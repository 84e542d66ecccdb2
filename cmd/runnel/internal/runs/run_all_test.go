package runs

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

func TestSummaryOfAFanOut(t *testing.T) {
	result := &client.AllResult{Outcomes: map[string]client.Outcome{}}
	ended := func(runner string, end *lines.End) {
		result.Outcomes[runner] = client.Outcome{Log: logs.FollowResult{End: end}}
	}
	ended("web1", &lines.End{State: "COMPLETE"})
	ended("web2", &lines.End{State: "COMPLETE"})
	ended("db1", &lines.End{State: "COMPLETE", ExitCode: 127})
	result.Missing = []string{"web3"}
	var out bytes.Buffer
	r := &runCommand{App: app.New(app.Stdio{In: nil, Out: io.Discard, Err: &out})}
	r.Conn.Timeout, r.id = 5*time.Second, "01JD"
	err := r.sumUp(result, 4)
	if want := "4 runners: 2 ok, 1 failed (db1: exit 127), 1 missing (web3)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := cli.Report(err, io.Discard); got != 125 {
		t.Errorf("got code %d, want 125", got)
	}
	if want := "web3  no answer in 5s; run 01JD-web3 may have started, or may still start\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	result.Missing = nil
	if got := cli.Report(r.sumUp(result, 4), io.Discard); got != 1 {
		t.Errorf("with one that failed: got code %d, want 1", got)
	}
	delete(result.Outcomes, "db1")
	if err := r.sumUp(result, 4); err != nil {
		t.Errorf("with none that failed: got %v", err)
	}
}
