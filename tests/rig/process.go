package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// built is where the commands are, once for all tests of the process.
var built string

// programs names a directory that has the commands already, for who can't build.
const programs = "RUNNEL_PROGRAMS"

var build = sync.OnceValues(func() (dir string, err error) {
	if dir := os.Getenv(programs); dir != "" {
		return dir, nil
	}
	dir, err = os.MkdirTemp("", "runnel-rig-")
	if err != nil {
		return "", err
	}
	built = dir
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator),
		"github.com/runnel-io/runnel/cmd/runnel", "github.com/runnel-io/runnel/cmd/runnel-shim").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("cannot build runnel: %w: %s", err, out)
	}
	return dir, err
})

// Program is the path of the command runnel, built from this source. RemoveProgram
// takes it away.
func Program(t testing.TB) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "runnel")
}

// RemoveProgram is for the end of a TestMain whose tests use Program.
func RemoveProgram() {
	if built != "" {
		_ = os.RemoveAll(built)
	}
}

// Process is a program that runs beside the test and ends with it.
type Process struct {
	*exec.Cmd
	t      testing.TB
	ended  chan struct{}
	err    error
	output Buffer
}

// Run starts a command. What it writes is collected.
func Run(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, t: t, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Output is what it has written to both streams so far.
func (p *Process) Output() string { return p.output.String() }

// Says waits until it has written a text.
func (p *Process) Says(text string) {
	p.t.Helper()
	Eventually(p.t, fmt.Sprintf("%s says %q", filepath.Base(p.Path), text), func() bool {
		select {
		case <-p.ended:
			if !strings.Contains(p.Output(), text) {
				p.t.Fatalf("%s has ended (%v) and said %q, not %q", p.Path, p.err, p.Output(), text)
			}
		default:
		}
		return strings.Contains(p.Output(), text)
	})
}

// Wait waits for its end and gives the exit code; -1 after a signal.
func (p *Process) Wait() int {
	<-p.ended
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Errorf("%s: %v", p.Path, p.err)
	}
	return p.ProcessState.ExitCode()
}

// Kill ends it at once. One that has ended stays as it was.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.ended
}

// Signal sends one.
func (p *Process) Signal(signal os.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(signal); err != nil {
		p.t.Errorf("cannot signal %s: %v", p.Path, err)
	}
}

// Buffer is written and read by several goroutines, as a log is.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
