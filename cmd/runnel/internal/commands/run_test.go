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
	cmd := command(t, "run", "--grace", "1h", "-c", `trap 'echo not yet' TERM; echo begun; while true; do sleep 0.1; done`)
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
	if took := time.Since(began); took > time.Minute {
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
