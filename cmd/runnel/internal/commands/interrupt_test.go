//go:build unix

package commands

import (
	"bytes"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

// GNU timeout signals the command and then its group: twice at once is once, and
// the run is ended.
func TestTwoSignalsAtOnceAreOne(t *testing.T) {
	newHome(t)
	_, _, _ = servedWithLog(t)
	cmd := command(t, "run", "--id", "twice", "-c", `trap 'echo cleaning up; exit 0' TERM; echo begun; sleep 60 & wait`)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out := started(t, cmd, "begun")
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
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
	if got := errOut.String(); !strings.HasPrefix(got, "runnel: aborting\n") {
		t.Errorf("got %q, want that it says so in a pipe too", got)
	}
	shown, _, err := runnel(t, "show", "twice")
	if err != nil || !strings.Contains(shown, "ABORTED") {
		t.Errorf("got %q, %v, want a run that is ABORTED", shown, err)
	}
}

// The same with the program itself, where there is one.
func TestTimeoutEndsTheRun(t *testing.T) {
	timeout, err := exec.LookPath("timeout")
	if err != nil {
		t.Skip("no timeout command here")
	}
	newHome(t)
	_, _, _ = servedWithLog(t)
	for _, id := range []string{"a", "b", "c"} {
		cmd := command(t, "run", "--id", id, "--", "sleep", "60")
		cmd.Args = append([]string{"timeout", "2", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = timeout
		_ = cmd.Run() // its code is timeout's
		rig.Eventually(t, "run "+id+" is aborted", func() bool {
			shown, _, err := runnel(t, "show", id)
			return err == nil && strings.Contains(shown, "ABORTED")
		})
	}
}

// One signal ends the command also while NATS is away: after the grace and ten
// seconds.
func TestOneSignalLeavesWhereNATSIsAway(t *testing.T) {
	newHome(t)
	served, _, _ := servedWithLog(t)
	cmd := command(t, "run", "--grace", "1s", "-c", "echo begun; sleep 60")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out := started(t, cmd, "begun")
	if err := served.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitForStop(t, served.Process.Pid)
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, out)
		ended <- cmd.Wait()
	}()
	select {
	case err := <-ended:
		if got := exitCode(t, err); got != 130 {
			t.Errorf("got code %d, want 130", got)
		}
	case <-time.After(110 * time.Second):
		t.Fatal("the command waits for ever")
	}
	if took := time.Since(began); took < 10*time.Second {
		t.Errorf("left after %v, want 11 s", took)
	}
	if got := errOut.String(); !strings.Contains(got, "the run was aborted, and no end is seen after 11s; the run may go on: runnel logs -f ") {
		t.Errorf("got %q, want what becomes of the run", got)
	}
}

// waitForStop returns when a child has stopped: a signal takes a moment.
func waitForStop(t *testing.T, pid int) {
	t.Helper()
	var status syscall.WaitStatus
	for {
		got, err := syscall.Wait4(pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
		if err != nil {
			t.Fatalf("cannot wait for the stop of %d: %v", pid, err)
		}
		if got == pid && status.Stopped() {
			return
		}
		runtime.Gosched()
	}
}

// SIGQUIT, a terminal's ^\, leaves at once: the run goes on, and no goroutines are
// listed.
func TestQuitLeavesTheRun(t *testing.T) {
	newHome(t)
	_, _, _ = servedWithLog(t)
	cmd := command(t, "run", "--id", "left", "-c", "echo begun; sleep 600")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out := started(t, cmd, "begun")
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd.Wait()); got != 130 {
		t.Errorf("got code %d, want 130", got)
	}
	if got, want := errOut.String(), "runnel: the run may go on: runnel logs -f left\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if shown, _, err := runnel(t, "show", "left"); err != nil || !strings.Contains(shown, "RUNNING") {
		t.Errorf("got %q, %v, want a run that goes on", shown, err)
	}
	if _, _, err := runnel(t, "abort", "left"); err != nil {
		t.Error(err)
	}
}
