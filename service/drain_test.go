package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// A runner that drains takes nothing new, and finishes what it has; who asks
// for any runner notices nothing.
func TestDrain(t *testing.T) {
	f := newFleet(t)
	a := f.start(service.Config{Name: "a", Settings: service.Settings{Slots: 1000}})
	f.start(service.Config{Name: "b", Settings: service.Settings{Slots: 1000}})
	c := f.two()
	release := t.TempDir() + "/release"
	c[0].start("at.a", "running", commands("until test -e "+release+"; do sleep 0.02; done; echo finished"))

	var asked atomic.Int64
	stop := make(chan struct{})
	var busy sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); busy.Wait() })
	defer end()
	busy.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			h := c[1].task("any", fmt.Sprint("any", n), `{"argv":["true"]}`)
			if h.err != nil || h.code != 0 {
				t.Errorf("a request to any runner, while one drains: %v", h)
				return
			}
			asked.Add(1)
		}
	})
	rig.Eventually(t, "requests come", func() bool { return asked.Load() > 20 })
	drained := make(chan struct{})
	go func() { a.Drain(context.Background()); close(drained) }()
	late := 0
	rig.Eventually(t, "it drains", func() bool {
		late++
		return c[0].task("at.a", fmt.Sprint("late", late), commands("true")).code == 503
	})
	if h := c[0].task("at.a", "late", commands("true")); h.text != "draining: this runner takes no new runs" {
		t.Errorf("got %v", h)
	}
	before := asked.Load()
	rig.Eventually(t, "requests come", func() bool { return asked.Load() > before+50 })
	end()
	select {
	case <-drained:
		t.Error("it has drained with a run that runs")
	default:
	}
	if h := c[0].query(`{"runs":["running"]}`); h.runs[0]["state"] != "RUNNING" {
		t.Errorf("got %v", h)
	}
	c[0].start("at.b", "release", commands("touch "+release))
	<-drained
	run := c[0].query(`{"runs":["running"]}`).runs[0]
	if l, err := c[1].agrees(run); run["state"] != "COMPLETE" || err != nil || len(l.lines) != 1 {
		t.Errorf("got %v, %q, %v", run, l.lines, err)
	}
}

// What does not finish in time is aborted, and what waits never starts.
func TestDrainAborts(t *testing.T) {
	f := newFleet(t)
	a := f.start(service.Config{Name: "a", Settings: service.Settings{Slots: 1}})
	f.start(service.Config{Name: "b"})
	c := f.two()
	c[0].start("at.a", "running", commands("sleep 1000"))
	c[1].start("at.a", "waits", commands("echo never"))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	a.Drain(ctx)
	for _, id := range []string{"running", "waits"} {
		for _, h := range together(c, func(c caller) heard { return c.query(`{"runs":["` + id + `"]}`) }) {
			if run := h.runs[0]; run["state"] != "ABORTED" || run["lines"] != 0.0 || run["logComplete"] != true {
				t.Errorf("got %v", run)
			}
		}
	}
}

// Close does not wait for anybody's grace, and leaves neither process nor
// record behind.
func TestCloseAborts(t *testing.T) {
	f := newFleet(t)
	a := f.start(service.Config{Name: "a", Settings: service.Settings{Slots: 2}})
	f.start(service.Config{Name: "b"})
	c := f.two()
	mark := mark()
	c[0].start("at.a", "stubborn", commands("trap '' TERM; while :; do sleep "+mark+"; done", `"grace":"1h"`))
	c[0].start("at.a", "aborting", commands("trap '' TERM; while :; do sleep "+mark+"; done", `"grace":"1h"`))
	c[0].start("at.a", "waits", commands("sleep "+mark))
	rig.Eventually(t, "they run", func() bool { return len(processesWith(t, "sleep\x00"+mark)) == 2 })
	c[1].abort("any", "aborting", "10ms")
	began := time.Now()
	a.Close()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	if left := processesWith(t, mark); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, id := range []string{"stubborn", "aborting", "waits"} {
		run := c[1].query(`{"runs":["` + id + `"]}`).runs[0]
		if _, err := c[0].agrees(run); run["state"] != "ABORTED" || err != nil {
			t.Errorf("got %v, %v", run, err)
		}
	}
}

// A runner ends though NATS takes nothing any more: what it could not write is the
// next life's.
func TestDrainWithoutNATS(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	s := f.start(service.Config{})
	file := t.TempDir() + "/pid"
	f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"r1"},"spec":{"task":{"commands":["echo $$ >`+file+`.new; mv `+file+`.new `+file+`; sleep 1000"]}}}`).ok(t)
	var pid int
	rig.Eventually(f.t, "it runs", func() bool {
		text, err := os.ReadFile(file)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Drain(ctx)
	s.Close()
	if p, err := os.FindProcess(pid); err == nil {
		if err := p.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("its process is there: %v", err)
		}
	}
}

// It doesn't wait for a run that has ended, either, whose end NATS does not take.
func TestDrainOfEndedRunsWithoutNATS(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	s := f.start(service.Config{})
	file := t.TempDir() + "/ended"
	f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"r1"},"spec":{"task":{"commands":["until [ -e `+file+`.go ]; do sleep 0.01; done; touch `+file+`"]}}}`).ok(t)
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(f.t, "it has ended", func() bool { _, err := os.Stat(file); return err == nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	s.Drain(ctx) // the test would time out
	s.Close()
}

// Whoever is in a hurry takes the grace away.
func TestKill(t *testing.T) {
	f := newFleet(t)
	s := f.start(service.Config{})
	f.firstLine(f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"r1"},"spec":{"task":{"commands":["trap '' TERM; echo; while :; do sleep 1000; done"],"grace":"10m"}}}`).ok(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	drained := make(chan struct{})
	go func() { s.Drain(ctx); close(drained) }()
	rig.Eventually(f.t, "it is being aborted", func() bool { return s.Health().State == service.StateDraining })
	s.Kill()
	<-drained
	if got := f.record("r1"); got["state"] != "ABORTED" || got["signal"] != "SIGKILL" {
		t.Errorf("got %v", got)
	}
}
