package commands

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// runnel runs a command line in this process and returns what it printed.
func runnel(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	err = run(t.Context(), args, app.Stdio{In: strings.NewReader(""), Out: &out, Err: &errOut})
	return out.String(), errOut.String(), err
}

// Every byte comes back, on the stream that it was written to.
func TestRawIsExact(t *testing.T) {
	newHome(t)
	out, errOut, err := runnel(t, "run", "--raw", "-c", `printf 'a\r\n\0\n\nb'; printf '\377x\n' >&2; sleep 0.3; printf '\303'; printf '\251'`)
	if err != nil {
		t.Fatal(err)
	}
	if want := "a\r\n\x00\n\nb\xc3\xa9"; out != want {
		t.Errorf("standard output: got %q, want %q", out, want)
	}
	if want := "\xffx\n"; !strings.HasSuffix(errOut, "\n"+want) {
		t.Errorf("standard error: got %q, want %q at its end", errOut, want)
	}
}

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

// A big script is sent compressed, and runs.
func TestBigScript(t *testing.T) {
	newHome(t)
	path := filepath.Join(t.TempDir(), "big.sh")
	text := "#!/bin/bash\n" + strings.Repeat("# "+strings.Repeat("x", 98)+"\n", 20_000) + "echo ran\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := runnel(t, "run", "-f", path)
	if err != nil || out != "ran\n" {
		t.Errorf("got %q, %v, want ran", out, err)
	}
}

func TestTooMuchStandardInput(t *testing.T) {
	newHome(t)
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := runnel(t, "run", "--stdin", path, "--", "cat")
	if err == nil || !strings.Contains(err.Error(), "a request has at most 1.0 MB") {
		t.Errorf("got %v, want an error that says how much can be sent", err)
	}
}

// command starts the test binary as runnel.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("runnel")
	if err != nil {
		dir := t.TempDir()
		path = filepath.Join(dir, "runnel")
		if err := os.Symlink(must(os.Executable())(t), path); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = "runnel"
	return cmd
}

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// started starts the command and waits for a line of its output.
func started(t *testing.T, cmd *exec.Cmd, line string) (rest io.Reader) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	var got []byte
	for !bytes.HasSuffix(got, []byte(line+"\n")) {
		var b [1]byte
		if _, err := io.ReadFull(out, b[:]); err != nil {
			t.Fatalf("waiting for %q: got %q, %v", line, got, err)
		}
		got = append(got, b[0])
	}
	return out
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// ^C ends the run, and everything that it started, and then the command.
func TestInterruptAborts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no runner there")
	}
	newHome(t)
	cmd := command(t, "run", "-c", `trap 'echo cleaning up; exit 0' TERM; echo begun; sleep 60 & wait`)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out := started(t, cmd, "begun")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd.Wait()); got != 130 {
		t.Errorf("got code %d, want 130", got)
	}
	if string(rest) != "cleaning up\n" {
		t.Errorf("got %q, want what the run printed while it was ended", rest)
	}
	if want := "runnel: aborted on "; !strings.Contains(errOut.String(), want) {
		t.Errorf("got %q, want %q", errOut.String(), want)
	}
}

// A second ^C does not wait for a run that takes its time.
func TestSecondInterruptLeaves(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no runner there")
	}
	newHome(t)
	cmd := command(t, "run", "-c", `trap 'echo not yet' TERM; echo begun; while true; do sleep 0.1; done`)
	out := started(t, cmd, "begun")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("not yet\n"))
	if _, err := io.ReadFull(out, first); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	left := make(chan struct{})
	go func() {
		defer close(left)
		io.Copy(io.Discard, out)
	}()
	// The second one counts when the abort has been sent, which the run may see
	// before the command does.
	for again := true; again; {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		select {
		case <-left:
			again = false
		case <-time.After(200 * time.Millisecond):
		}
	}
	if got := exitCode(t, cmd.Wait()); got != 130 {
		t.Errorf("got code %d, want 130", got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v to leave", took)
	}
}

// `runnel run -- yes | head -1` ends, and so does yes.
func TestClosedPipeEndsTheRun(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no runner there")
	}
	newHome(t)
	cmd := command(t, "run", "--", "yes")
	out := started(t, cmd, "y")
	out.(io.Closer).Close()
	if got, want := exitCode(t, cmd.Wait()), 128+int(syscall.SIGPIPE); got != want {
		t.Errorf("got code %d, want %d", got, want)
	}
}

// The sum of a fan-out as people read it: names with the numbers, bad news last.
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
	all := &allPrinter{printer: newPrinter(a, false, false), rests: map[string]*[2][]byte{}, width: 4}
	all.record("web1", lines.Record{Text: []byte("half "), Open: true})
	all.record("db1", lines.Record{Text: []byte("whole")})
	all.record("web1", lines.Record{Stream: lines.Stderr, Text: []byte("error")})
	all.record("web1", lines.Record{Text: []byte("and half")})
	all.record("db1", lines.Record{Text: []byte("rest"), Open: true})
	all.record("db1", lines.Record{End: &lines.End{}})
	all.end("db1")
	if err := all.flush(); err != nil {
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
		all := &allPrinter{printer: newPrinter(a, false, false), rests: map[string]*[2][]byte{}, width: 4}
		all.record("web1", lines.Record{Text: []byte("\x1b[31mre"), Open: true})
		all.record("web1", lines.Record{Text: []byte("d\x1b[2J")})
		all.record("db1", lines.Record{Text: []byte("plain")})
		if err := all.flush(); err != nil {
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

func TestServeOnABusyPort(t *testing.T) {
	newHome(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	_, _, err = runnel(t, "serve", "--listen", address)
	want := "cannot listen on " + address + ": address already in use; another runnel serve or nats-server holds it: use --listen, or --server to use that one"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
