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

// Lines of many runners don't mix, whatever comes first.
func TestLinesOfManyRunnersStayWhole(t *testing.T) {
	var out, errOut bytes.Buffer
	a := app.New(app.Stdio{In: nil, Out: &out, Err: &errOut})
	all := &allPrinter{Printer: NewPrinter(a, false, false), rests: map[string]*[2][]byte{}, width: 4}
	all.record("web1", lines.Record{Text: []byte("half "), Open: true})
	all.record("db1", lines.Record{Text: []byte("whole")})
	all.record("web1", lines.Record{Stream: lines.Stderr, Text: []byte("error")})
	all.record("web1", lines.Record{Text: []byte("and half")})
	all.record("db1", lines.Record{Text: []byte("rest"), Open: true})
	all.record("db1", lines.Record{End: &lines.End{}})
	all.end("db1")
	if err := all.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "db1   whole\nweb1  half and half\ndb1   rest\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := errOut.String(), "web1  error\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// On a terminal a runner's colours end with its line, and its cursor stays there.
func TestColoursOfManyRunners(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		var out, errOut bytes.Buffer
		a := app.New(app.Stdio{Out: &out, Err: &errOut})
		a.Look.Terminal = terminal
		all := &allPrinter{Printer: NewPrinter(a, false, false), rests: map[string]*[2][]byte{}, width: 4}
		all.record("web1", lines.Record{Text: []byte("\x1b[31mre"), Open: true})
		all.record("web1", lines.Record{Text: []byte("d\x1b[2J")})
		all.record("db1", lines.Record{Text: []byte("plain")})
		if err := all.Flush(); err != nil {
			t.Fatal(err)
		}
		want := "web1  \x1b[31mred\x1b[0m\ndb1   plain\n"
		if !terminal {
			want = "web1  \x1b[31mred\x1b[2J\ndb1   plain\n" // a pipe gets what was printed
		}
		if out.String() != want {
			t.Errorf("terminal %t: got %q, want %q", terminal, out.String(), want)
		}
	}
}
