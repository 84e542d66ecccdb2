//go:build unix

package commands

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// servedWithLog starts `runnel serve` and returns the reading end of its log,
// from the line after "ready".
func servedWithLog(t *testing.T, args ...string) (*exec.Cmd, *os.File, *bufio.Reader) {
	t.Helper()
	log, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if !slices.Contains(args, "--server") {
		args = append([]string{"--listen", "127.0.0.1:0"}, args...)
	}
	cmd := command(t, append([]string{"serve"}, args...)...)
	cmd.Stderr = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	t.Cleanup(func() { // in good order: its children write to the test's directories
		cmd.Process.Signal(syscall.SIGCONT)
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
		defer late.Stop()
		cmd.Wait()
	})
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("serve ended before it was ready: %v", err)
		}
		if strings.Contains(line, " ready: ") {
			return cmd, log, lines
		}
	}
}

// askOften asks the runner more than its log's pipe has room for.
func askOften(t *testing.T, n int) {
	t.Helper()
	s, err := parsed(t).Open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range n {
		if _, err := s.Glance(t.Context(), client.Target{}, &pb.Glance{}); err != nil {
			t.Fatalf("request %d: %v", i+1, err)
		}
	}
}

func endsWell(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if got := exitCode(t, err); got != 0 {
			t.Errorf("serve: got code %d, want 0", got)
		}
	case <-time.After(60 * time.Second):
		t.Error("serve does not end")
	}
}

// Whoever read the log has gone: the service stays.
func TestServeOutlivesTheReaderOfItsLog(t *testing.T) {
	newHome(t)
	cmd, log, _ := servedWithLog(t, "--log-level", "debug")
	log.Close()
	askOften(t, 50)
	out, errOut, err := runnel(t, "run", "--", "echo", "alive")
	if err != nil || out != "alive\n" {
		t.Errorf("got %q, %q, %v, want alive", out, errOut, err)
	}
	endsWell(t, cmd)
}

// Whoever reads the log has stopped reading: runs and requests go on, and the log
// says how many lines it lacks once it is read again.
func TestServeWithAStalledLog(t *testing.T) {
	newHome(t)
	cmd, _, lines := servedWithLog(t, "--log-level", "debug")
	askOften(t, 15000)
	out, _, err := runnel(t, "run", "--", "echo", "alive")
	if err != nil || out != "alive\n" {
		t.Errorf("got %q, %v, want alive", out, err)
	}
	read := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(lines)
		read <- string(text)
	}()
	endsWell(t, cmd)
	if text := <-read; !strings.Contains(text, " of this log are lost: standard error did not take them in time") {
		t.Errorf("%d bytes of log do not say what is lost", len(text))
	}
}

// A log that nobody reads does not keep the server from ending.
func TestServeEndsWithAStalledLog(t *testing.T) {
	newHome(t)
	cmd, _, _ := servedWithLog(t, "--log-level", "debug")
	askOften(t, 1000)
	endsWell(t, cmd)
}
