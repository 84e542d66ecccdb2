package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
)

// Whoever is told that an id is refused may use it again at once: nothing that was prepared of it is left.
func TestRefusedIDIsFree(t *testing.T) {
	b := newBench(t, nil)
	b.mustStart("again", argv("true"))
	b.end()
	bucket, err := rig.JetStream(t, b.nc).Stream(t.Context(), "KV_runner_runs")
	if err == nil {
		err = bucket.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.runner_runs.again")) // the log stays
	}
	if err != nil {
		t.Fatal(err)
	}
	sub, err := b.Submit(request("again", argv("true")), noHeaders, Policy{Hold: free})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := b.Admit(false)
	if err != nil {
		t.Fatal(err)
	}
	b.Go(ticket, sub, func(_ *pb.Run, err error) {
		if !errors.Is(err, ErrLogKept) {
			t.Errorf("got %v, want that the log is kept", err)
		}
		time.Sleep(100 * time.Millisecond) // what is prepared meanwhile would be by now
		process, err := b.cfg.Host.Start(sandbox.Spec{ID: "again", Argv: []string{"true"}, Env: os.Environ()})
		if err == nil {
			_, err = process.Pump(nil, nil)
		}
		if err != nil {
			t.Errorf("the id is not free: %v", err)
		}
	})
}

// How a run ends is in its record, whatever kind of task it is.
func TestEnds(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range []struct {
		name          string
		task          *pb.Task
		state         pb.State
		reason, error string
		code          int32
	}{
		{"well", argv("true"), pb.State_COMPLETE, pb.ReasonExit, "", 0},
		{"a code", shellTask("exit 7"), pb.State_COMPLETE, pb.ReasonExit, "", 7},
		{"a signal", shellTask("kill -9 $$"), pb.State_COMPLETE, pb.ReasonSignal, "", 0},
		{"no such program", argv("/no/such/program"), pb.State_FAILED, pb.ReasonRejected, "no such program", 0},
		{"no such user", &pb.Task{Argv: []string{"true"}, User: "no-such-user"}, pb.State_FAILED, pb.ReasonRejected, "no such user", 0},
		{"no such directory", &pb.Task{Argv: []string{"true"}, Dir: "/no/such"}, pb.State_FAILED, pb.ReasonRejected, "no such directory", 0},
		{"a script", &pb.Task{File: &pb.File{Content: []byte("#!/bin/bash\nexit 3")}}, pb.State_COMPLETE, pb.ReasonExit, "", 3},
		{"a script of nobody", &pb.Task{File: &pb.File{Content: []byte("#!/bin/bash\nexit 3")}, User: "no-such-user"}, pb.State_FAILED, pb.ReasonRejected, "no such user", 0},
		{"a timeout", &pb.Task{Argv: []string{"sleep", "1000"}, Timeout: "50ms"}, pb.State_TIMEDOUT, pb.ReasonTimeout, "", 0},
		{"wallTime", &pb.Task{Argv: []string{"sleep", "1000"}, Limits: &pb.Limits{WallTime: "50ms"}}, pb.State_TIMEDOUT, pb.ReasonTimeout, "", 0},
		{"code", &pb.Task{Language: &pb.Language{Name: "sh"}, Isolation: "none", File: &pb.File{Content: []byte("exit 4")}}, pb.State_COMPLETE, pb.ReasonExit, "", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			accepted := b.mustStart("", c.task)
			run := b.end()
			if run.GetId() != accepted.GetId() || accepted.GetState() != pb.State_RUNNING || !run.GetLogComplete() {
				t.Errorf("accepted %v, ended %v", accepted, run)
			}
			if run.GetState() != c.state || run.GetReason() != c.reason || run.GetExitCode() != c.code || !strings.Contains(run.GetError(), c.error) {
				t.Errorf("got %v", run)
			}
			stored, _, err := b.cfg.Store.Get(t.Context(), run.GetId())
			if err != nil || stored.GetState() != c.state {
				t.Errorf("stored: %v, %v", stored, err)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), b.tempPrefix()+"*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if load := b.Load(); load.Running+load.Pending > 0 || !load.Free {
		t.Errorf("load %+v", load)
	}
}

// What the request alone shows to be wrong is refused, and has no record.
func TestRefused(t *testing.T) {
	b := newBench(t, nil)
	for name, task := range map[string]*pb.Task{
		"timeout": {Argv: []string{"true"}, Timeout: "5"}, "grace": {Argv: []string{"true"}, Grace: "-1s"}, "limits.wallTime": {Argv: []string{"true"}, Limits: &pb.Limits{WallTime: "0s"}},
		"isolation": {Argv: []string{"true"}, Isolation: "some"}, "reserved": {Argv: []string{"true"}, Params: []*pb.Param{{Name: sandbox.MarkerName, Value: "x"}}},
		"doesn't go with": {Argv: []string{"true"}, Isolation: "standard", User: "root"}, "spec.task.dir": {Language: &pb.Language{Name: "sh"}, Dir: "/", File: &pb.File{}},
		"moo": {Language: &pb.Language{Name: "moo"}, File: &pb.File{}},
	} {
		if _, err := b.start("refused", task); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := b.Check(task); err == nil {
			t.Errorf("%s: Check sees nothing", name)
		}
	}
	if _, _, err := b.cfg.Store.Get(t.Context(), "refused"); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("got %v", err)
	}
}

// The same request is the same run; another one under its id is a conflict.
func TestSameAgain(t *testing.T) {
	b := newBench(t, nil)
	first := b.mustStart("same", argv("true"))
	b.end()
	again := b.mustStart("same", argv("true"))
	if again.GetId() != first.GetId() || again.GetState() != pb.State_COMPLETE {
		t.Errorf("got %v", again)
	}
	if _, err := b.start("same", argv("false")); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	sub, err := b.Submit(request("same", argv("true")), noHeaders, Policy{Hold: free})
	if err != nil {
		t.Fatal(err)
	}
	if known, err := b.Before(t.Context(), sub); err != nil || known.GetId() != "same" {
		t.Errorf("got %v, %v", known, err)
	}
	if _, err := b.Before(t.Context(), Submission{Request: request("", argv("true"))}); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("without an id: %v", err)
	}
}

// Two run, two wait, the fifth is refused; an end lets the first in line start.
func TestSlotsAndLine(t *testing.T) {
	b := newBench(t, nil)
	dir := t.TempDir()
	for i := range 4 {
		run := b.mustStart(fmt.Sprint("r", i), shellTask(fmt.Sprintf("until test -e %s/%d; do sleep 0.01; done", dir, i)))
		want := pb.State_RUNNING
		if i > 1 {
			want = pb.State_PENDING
		}
		if run.GetState() != want {
			t.Errorf("run %d is %s", i, run.GetState())
		}
	}
	if _, err := b.start("r4", argv("true")); !errors.Is(err, ErrFull) {
		t.Errorf("the fifth: %v", err)
	}
	ticket, err := b.Admit(true)
	if err != nil {
		t.Fatalf("forced: %v", err)
	}
	ticket.Return()
	ticket.Return() // twice is once
	if load := b.Load(); load.Running != 2 || load.Pending != 2 || load.Free {
		t.Errorf("load %+v", load)
	}
	for _, i := range []int{1, 2} {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if run := b.end(); run.GetId() != fmt.Sprint("r", i) {
			t.Errorf("%s ended", run.GetId())
		}
	}
	b.Resize(1, -1)
	if load := b.Load(); load.Slots != 1 || load.Backlog != 0 || load.Running != 2 {
		t.Errorf("resized: %+v", load)
	}
	for _, id := range []string{"r0", "r3"} {
		if run, err := b.Abort(t.Context(), id, 10*time.Second, ""); err != nil || run.GetState() != pb.State_ABORTED {
			t.Errorf("%s: %v, %v", id, run, err)
		}
	}
}

// What waits for its turn has its record, takes no place until then, and can be aborted.
func TestTurn(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.Slots, cfg.Backlog = 1, 0 })
	turn := make(chan struct{})
	later := func(id string) {
		t.Helper()
		sub, err := b.Submit(request(id, argv("true")), noHeaders, Policy{Hold: free})
		if err != nil {
			t.Fatal(err)
		}
		sub.Unasked = true
		sub.Turn = func(ctx context.Context) {
			select {
			case <-turn:
			case <-ctx.Done():
			}
		}
		ticket, err := b.AdmitLater()
		if err != nil {
			t.Fatal(err)
		}
		accepted, over := make(chan *pb.Run, 1), make(chan struct{})
		go func() {
			defer close(over)
			b.Go(ticket, sub, func(run *pb.Run, err error) { accepted <- run })
		}()
		b.lives.Store(id, over)
		if run := <-accepted; run.GetState() != pb.State_PENDING {
			t.Errorf("%s is accepted as %v", id, run)
		}
		if kept, _, err := b.cfg.Store.Get(t.Context(), id); err != nil || kept.GetState() != pb.State_PENDING {
			t.Errorf("%s is recorded as %v, %v", id, kept, err)
		}
	}
	later("first")
	later("second")
	if load := b.Load(); !load.Free || load.Running+load.Pending != 0 {
		t.Errorf("load %+v", load)
	}
	b.mustStart("meanwhile", argv("true"))
	if run := b.end(); run.GetId() != "meanwhile" || run.GetState() != pb.State_COMPLETE {
		t.Errorf("got %v", run)
	}
	if run, err := b.Abort(t.Context(), "second", 10*time.Second, ""); err != nil || run.GetState() != pb.State_ABORTED || run.GetStarted() != nil {
		t.Errorf("aborted: %v, %v", run, err)
	}
	if run := b.end(); run.GetId() != "second" {
		t.Errorf("got %v", run)
	}
	close(turn)
	if run := b.end(); run.GetId() != "first" || run.GetState() != pb.State_COMPLETE || run.GetStarted() == nil {
		t.Errorf("got %v", run)
	}
	if load := b.Load(); !load.Free {
		t.Errorf("at the end: load %+v", load)
	}
}

// One that waits is aborted without a start, or expires.
func TestAbort(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.Slots = 1 })
	b.mustStart("runs", argv("sleep", "1000"))
	b.mustStart("waits", argv("true"))
	b.mustStart("expires", &pb.Task{Argv: []string{"true"}, Expires: "50ms"})
	if run := b.end(); run.GetId() != "expires" || run.GetReason() != pb.ReasonExpired || !strings.Contains(run.GetError(), "50ms") {
		t.Errorf("got %v", run)
	}
	for _, id := range []string{"waits", "runs"} {
		run, err := b.Abort(t.Context(), id, 10*time.Second, "")
		if err != nil || run.GetState() != pb.State_ABORTED || (run.GetStarted() != nil) != (id == "runs") {
			t.Errorf("%s: %v, %v", id, run, err)
		}
		if again, err := b.Abort(t.Context(), id, 0, ""); err != nil || again.GetState() != pb.State_ABORTED {
			t.Errorf("%s again: %v, %v", id, again, err)
		}
	}
	if _, err := b.Abort(t.Context(), "never-was", 0, ""); !errors.Is(err, store.ErrUnknownRun) {
		t.Errorf("got %v", err)
	}
	run := &pb.Run{Id: "elsewhere", Runner: "web2", State: pb.State_RUNNING, LogStream: b.cfg.Space.LogStream(), LogSubject: b.cfg.Space.Log("web2", "elsewhere")}
	if _, err := b.cfg.Store.Create(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Abort(t.Context(), "elsewhere", 0, ""); !errors.Is(err, ErrNotHere) || found.GetRunner() != "web2" {
		t.Errorf("got %v, %v", found, err)
	}
}

// Drain waits for what runs, and at its end leaves no more than a moment.
func TestDrainAndClose(t *testing.T) {
	b := newBench(t, nil)
	b.mustStart("quick", argv("sleep", "0.1"))
	b.mustStart("stubborn", &pb.Task{Commands: []string{"trap '' TERM; while :; do sleep 1; done"}, Grace: "1h"})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	b.Drain(ctx)
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("it took %s", took)
	}
	got := map[string]pb.State{}
	for range 2 {
		run := b.end()
		got[run.GetId()] = run.GetState()
	}
	if got["quick"] != pb.State_COMPLETE || got["stubborn"] != pb.State_ABORTED {
		t.Errorf("got %v", got)
	}
	if _, err := b.start("late", argv("true")); !errors.Is(err, ErrDraining) {
		t.Errorf("got %v", err)
	}
}

// Kill ends a drain at once.
func TestKill(t *testing.T) {
	b := newBench(t, nil)
	file := filepath.Join(t.TempDir(), "stubborn")
	b.mustStart("stubborn", &pb.Task{Commands: []string{"trap '' TERM; touch " + file + "; while :; do sleep 1; done"}, Grace: "1h"})
	rig.Eventually(t, "it ignores SIGTERM", func() bool { _, err := os.Stat(file); return err == nil })
	drained := make(chan struct{})
	go func() { b.Drain(context.Background()); close(drained) }()
	rig.Eventually(t, "it drains", func() bool { return b.Load().Draining })
	b.Runner.Kill()
	b.Runner.Kill() // twice is once
	if run := b.end(); run.GetState() != pb.State_ABORTED || run.GetSignal() != "SIGKILL" {
		t.Errorf("got %v", run)
	}
	<-drained
}

// A life that follows marks what the one before left, once.
func TestRecover(t *testing.T) {
	b := newBench(t, nil)
	left := &pb.Run{Id: "left", Runner: "web1", State: pb.State_RUNNING, LogStream: b.cfg.Space.LogStream(), LogSubject: b.cfg.Space.Log("web1", "left")}
	if _, err := b.cfg.Store.Create(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(os.TempDir(), b.tempPrefix()+"old")
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if !b.Orphan(left) {
		t.Error("nobody has it, and it is no orphan")
	}
	for range 2 {
		if err := b.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if run := b.end(); run.GetId() != "left" || run.GetReason() != pb.ReasonLost || run.GetLogComplete() {
		t.Errorf("got %v", run)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
}

// A run that others have declared lost is killed here.
func TestRecheck(t *testing.T) {
	b := newBench(t, nil)
	run := b.mustStart("taken", argv("sleep", "1000"))
	if err := b.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.MarkLost(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if err := b.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "it is given up", func() bool { return b.Load().Running == 0 })
	stored, _, err := b.cfg.Store.Get(t.Context(), "taken")
	if err != nil || stored.GetReason() != pb.ReasonLost {
		t.Errorf("got %v, %v", stored, err)
	}
}

// "@run" is an empty directory that the run may write to, whoever it runs as; it
// goes with the run.
func TestOwnDir(t *testing.T) {
	b := newBench(t, nil)
	dir := t.TempDir()
	for _, path := range []string{filepath.Dir(dir), dir} { // another user gets there
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	const text = `echo "$(pwd) $(ls -A | wc -l) $PWD" >"$OUT"; mkdir a; touch a/b; chmod 0 a`
	for name, task := range map[string]*pb.Task{
		"script":   {File: &pb.File{Content: []byte("#!/bin/bash\n" + text + "\n")}},
		"commands": {Commands: []string{text}},
		"argv":     argv("sh", "-c", text),
		"user":     {File: &pb.File{Content: []byte("#!/bin/bash\n" + text + "\n")}, User: "nobody"},
	} {
		if task.GetUser() != "" && os.Geteuid() != 0 {
			continue
		}
		if err := os.WriteFile(out, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(out, 0o666); err != nil {
			t.Fatal(err)
		}
		task.Dir, task.Params = pb.OwnDir, []*pb.Param{{Name: "OUT", Value: out}}
		if _, err := b.start(name, task); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if run := b.end(); run.GetState() != pb.State_COMPLETE || run.GetExitCode() != 0 {
			t.Errorf("%s: %v", name, run)
		}
		said, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(string(said))
		if cwd, _ := os.Getwd(); len(words) != 3 || words[0] == cwd || words[1] != "0" || words[2] != words[0] {
			t.Errorf("%s: it was in %s", name, said)
			continue
		}
		if _, err := os.Stat(filepath.Dir(words[0])); err == nil {
			t.Errorf("%s: %s is still there", name, words[0])
		}
	}
}
