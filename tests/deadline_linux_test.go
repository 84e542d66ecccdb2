package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// A runner that was stopped (kill -STOP, a virtual machine on hold) for longer
// than its caller waits does not begin afterwards what it was asked meanwhile. What
// comes in time is run, also right behind.
func TestStoppedRunnerStartsNothingLate(t *testing.T) {
	server := newProcess(t, "server", processConfig{Port: rig.FreePort(t)})
	url, seed := fmt.Sprintf("nats://127.0.0.1:%d", server.cfg.Port), filepath.Join(server.cfg.DataDir, "user.nk")
	runner := newProcess(t, "a", processConfig{Runner: "a", URL: url, SeedFile: seed})
	nc := dialed(t, url, seed)
	impatient, err := client.New(nc, client.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	patient, err := client.New(nc, client.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	touch := func(name string) *pb.TaskRequest {
		return &pb.TaskRequest{Metadata: &pb.Metadata{Id: name}, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"touch", filepath.Join(dir, name)}}}}
	}
	at := client.Target{On: "a"}
	if _, err := patient.Run(t.Context(), at, touch("before"), client.RunEvents{}); err != nil {
		t.Fatal(err)
	}
	signal := func(s syscall.Signal) {
		if err := runner.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	untilStopped(t, runner)
	stopped := time.Now()
	if _, err := impatient.Start(t.Context(), at, touch("late")); !errors.Is(err, client.ErrNoAnswer) {
		t.Errorf("a stopped runner: got %v", err)
	}
	inTime := make(chan error, 1)
	go func() {
		_, err := patient.Run(t.Context(), at, touch("in-time"), client.RunEvents{})
		inTime <- err
	}()
	time.Sleep(time.Until(stopped.Add(3 * time.Second))) // the deadline, and more than a second
	signal(syscall.SIGCONT)
	if err := <-inTime; err != nil {
		t.Fatalf("%v\n%s", err, runner.tail())
	}
	for name, want := range map[string]bool{"before": true, "late": false, "in-time": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if run, err := patient.Status(t.Context(), "late"); !errors.Is(err, client.ErrUnknownRun) {
		t.Errorf("there is a record of the late run: %v, %v", run, err)
	}
}

// untilStopped waits until no thread of a process runs any more: the signal takes
// its time.
func untilStopped(t *testing.T, p *process) {
	t.Helper()
	rig.Eventually(t, "the runner is stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			return false
		}
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if err == nil && !strings.Contains(string(text), ") T ") {
				return false
			}
		}
		return true
	})
}
