//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// blockTime bounds one block: a build on a slow machine is among them.
	blockTime = 5 * time.Minute
	// readyTime is how long a block in the background has to say "ready".
	readyTime = time.Minute
	// pause is how long a block has nothing more to print before it is stopped.
	pause = 2 * time.Second
)

// shell is where the blocks of one document are run.
type shell struct {
	dir, home string
	path      string
	behind    []*process
}

// execute runs the blocks of a document. In the repository for the README, else
// in a directory that has nothing in it.
func execute(blocks []block, bin string, inRepository bool) (ran int, problems []error) {
	home, err := os.MkdirTemp("", "runnel-home-")
	if err != nil {
		return 0, []error{err}
	}
	defer os.RemoveAll(home)
	s := &shell{home: home, dir: filepath.Join(home, "work"), path: bin + ":" + os.Getenv("PATH")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return 0, []error{err}
	}
	if inRepository {
		s.dir = "."
	}
	defer func() {
		for _, p := range s.behind {
			p.end(syscall.SIGTERM)
		}
	}()
	for _, b := range blocks {
		ran++
		if err := s.run(b); err != nil {
			problems = append(problems, fmt.Errorf("%d: %w", b.line, err))
		}
	}
	return ran, problems
}

func (s *shell) run(b block) error {
	if b.mode == "file" {
		return os.WriteFile(filepath.Join(s.dir, b.file), []byte(b.text), 0o600)
	}
	p, err := s.start(b.text)
	if err != nil {
		return err
	}
	switch b.mode {
	case "background":
		s.behind = append(s.behind, p)
		return p.ready()
	case "stop":
		return p.stop()
	}
	select {
	case <-p.ended:
	case <-time.After(blockTime):
		p.end(syscall.SIGKILL)
		return fmt.Errorf("not over in %s: %s", blockTime, p.both())
	}
	if p.err != nil {
		return fmt.Errorf("%w: %s", p.err, p.both())
	}
	if got := p.out.String(); b.output != nil && got != *b.output {
		return fmt.Errorf("prints %q, and the document shows %q", got, *b.output)
	}
	return nil
}

// process is a block that runs, in a process group of its own.
type process struct {
	cmd       *exec.Cmd
	out, err2 buffer
	ended     chan struct{}
	err       error
}

func (s *shell) start(text string) (*process, error) {
	p := &process{cmd: exec.Command("bash", "-c", "set -euo pipefail\n"+text), ended: make(chan struct{})}
	p.cmd.Dir = s.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err2
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = []string{"HOME=" + s.home, "PATH=" + s.path, "LANG=C.UTF-8", "TERM=dumb", "XDG_CONFIG_HOME=" + s.home + "/.config", "XDG_DATA_HOME=" + s.home + "/.local/share"}
	for _, name := range []string{"GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS"} {
		if out, err := exec.Command("go", "env", name).Output(); err == nil {
			p.cmd.Env = append(p.cmd.Env, name+"="+strings.TrimSpace(string(out)))
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// both is what it has printed, for an error.
func (p *process) both() string { return strings.TrimSpace(p.out.String() + p.err2.String()) }

func (p *process) ready() error {
	for deadline := time.Now().Add(readyTime); ; time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.ended:
			return fmt.Errorf("ended: %s", p.both())
		default:
		}
		if strings.Contains(p.both(), "ready") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready in %s: %s", readyTime, p.both())
		}
	}
}

// stop waits until it has printed something and then nothing for a while.
func (p *process) stop() error {
	defer p.end(syscall.SIGINT)
	last, since := 0, time.Now()
	for deadline := time.Now().Add(blockTime); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.ended:
			return fmt.Errorf("ended by itself: %s", p.both())
		default:
		}
		now := len(p.out.String())
		if now != last {
			last, since = now, time.Now()
		}
		if last > 0 && time.Since(since) > pause {
			return nil
		}
	}
	return errors.New("prints nothing")
}

// end ends the whole group.
func (p *process) end(signal syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, signal)
	select {
	case <-p.ended:
	case <-time.After(readyTime):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
