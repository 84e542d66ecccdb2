package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// A runner that is alive keeps its runs when somebody removes its card.
func TestCardRemovedByHand(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"r1"},"spec":{"task":{"argv":["sleep","1000"]}}}`).ok(t)
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	cards, err := js.KeyValue("runner_fleet")
	if err != nil {
		t.Fatal(err)
	}
	for _, remove := range []func(string, ...nats.DeleteOpt) error{cards.Delete, cards.Purge} {
		if err := remove("web1"); err != nil {
			t.Fatal(err)
		}
		got := f.ask("runner.query.any", `{"kind":"runner","spec":{"query":{"runs":["r1"]}}}`)
		if runs := got.list("runs"); len(runs) != 1 || runs[0].(map[string]any)["state"] != "RUNNING" {
			t.Errorf("got %s", got.Data)
		}
	}
	f.ask("runner.abort.any", abort("r1")).ok(t)
}

func isLost(run map[string]any) bool {
	return run["state"] == "FAILED" && run["reason"] == "lost" && run["logComplete"] == false
}

// The runs of a runner that never returns are lost when somebody asks, however
// it is asked, and not before the time is over.
func TestRunnerNeverReturns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gone := s.runner(processConfig{Name: "gone", Slots: 4})
	s.runner(processConfig{Name: "asked"})
	c := s.two()
	asked := []string{"by-wait", "by-list", "by-final-list", "by-abort", "waits-there"}
	for i, id := range asked {
		c[i%2].start("at.gone", id, commands("echo here; sleep 1000", `"tags":{"how":"`+id+`"}`))
	}
	rig.Eventually(t, "they have printed", func() bool {
		l, _ := c[0].nc.JetStream()
		info, err := l.StreamInfo("RUNNER_LOG")
		return err == nil && info.State.Msgs == 4
	})
	gone.kill()
	began := time.Now()
	if h := c[0].abort("any", "by-abort", "100ms"); h.code != 503 || !strings.Contains(h.text, "gone") {
		t.Errorf("before the time is over: got %v", h)
	}
	for i, run := range together(c, func(c caller) map[string]any { return c.final("by-wait") }) {
		if !isLost(run) {
			t.Errorf("client %d: got %v", i, run)
		}
	}
	if took := time.Since(began); took < time.Second || took > time.Minute {
		t.Errorf("lost after %s", took)
	}
	for _, h := range together(c, func(c caller) heard { return c.query(`{"all":true,"tags":{"how":"by-list"}}`) }) {
		if len(h.runs) != 1 || !isLost(h.runs[0]) {
			t.Errorf("got %v", h)
		}
	}
	rig.Eventually(t, "a list of final runs has it", func() bool {
		return len(c[1].query(`{"all":true,"tags":{"how":"by-final-list"},"states":["FAILED"]}`).runs) == 1
	})
	for _, h := range together(c, func(c caller) heard { return c.abort("any", "by-abort", "100ms") }) {
		if !isLost(h.run) {
			t.Errorf("got %v", h)
		}
	}
	for _, id := range asked {
		l, err := c[0].agrees(c[1].final(id))
		if want := map[bool]int{true: 0, false: 1}[id == "waits-there"]; err != nil || len(l.lines) != want || l.end["reason"] != "lost" {
			t.Errorf("%s: got %q, %v, %v", id, l.lines, l.end, err)
		}
	}
	// Should it return after all, what was said stays.
	gone.start()
	for _, id := range asked {
		if run := c[0].final(id); !isLost(run) {
			t.Errorf("got %v", run)
		}
	}
}

// away tests a runner that is declared dead and is not: it finds that out,
// kills its runs, says so, and writes into no log that was closed.
func away(t *testing.T, s *site, r *process, leave, back func()) {
	for _, name := range []string{"asked", "asked-too", "and-asked"} { // a request to any may reach the one that is away
		s.runner(processConfig{Name: name})
	}
	c := s.two()
	mark, dir := mark(), t.TempDir()
	c[0].start("at.away", "quiet", commands("setsid sleep "+mark+" & sleep "+mark))
	c[1].start("at.away", "chatty", commands("i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done; sleep "+mark))
	c[1].start("at.away", "ends", commands("echo here; until test -e "+dir+"/left; do sleep 0.01; done; echo there; touch "+dir+"/ended; exit 3"))
	rig.Eventually(t, "it sleeps", func() bool { return len(processesWith(t, "sleep\x00"+mark)) == 2 })
	leave()
	if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "one ends meanwhile", func() bool { _, err := os.Stat(filepath.Join(dir, "ended")); return err == nil })
	all := []string{"quiet", "chatty", "ends"}
	for _, id := range all {
		for _, run := range together(c, func(c caller) map[string]any { return c.final(id) }) {
			if !isLost(run) {
				t.Errorf("got %v", run)
			}
		}
	}
	back()
	rig.Eventually(t, "it kills what is not its own any more", func() bool { return len(processesWith(t, mark)) == 0 })
	rig.Eventually(t, "it says so", func() bool { return r.said("run was taken from this runner") })
	rig.Eventually(t, "it takes runs again", func() bool { return c[0].task("at.away", "again", commands("true")).code == 0 })
	if run := c[1].final("again"); run["state"] != "COMPLETE" {
		t.Errorf("got %v", run)
	}
	rig.Eventually(t, "nothing is left", func() bool { return len(r.left()) == 0 })
	for _, id := range all {
		run := c[0].final(id)
		if _, err := c[1].agrees(run); err != nil || !isLost(run) {
			t.Errorf("got %v, %v", run, err)
		}
	}
}

func TestRunnerStoppedAndWoken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.runner(processConfig{Name: "away"})
	away(t, s, r, func() { r.signal(syscall.SIGSTOP) }, func() { r.signal(syscall.SIGCONT) })
}

func TestRunnerCutOff(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	wire := newLink(t, s.url)
	r := s.runner(processConfig{Name: "away", URL: wire.url()})
	away(t, s, r, func() { wire.setCut(true) }, func() { wire.setCut(false) })
}

// A short absence costs nothing.
func TestRunnerAwayForAMoment(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	wire := newLink(t, s.url)
	patient := processConfig{CardInterval: 100 * time.Millisecond, OfflineAfter: 10 * time.Second, LostAfterFor: time.Minute}
	patient.Name = "asked"
	s.runner(patient)
	patient.Name, patient.URL = "away", wire.url()
	r := s.runner(patient)
	c := s.two()
	dir := t.TempDir()
	c[0].start("at.away", "goes-on", commands("i=0; until test -e "+dir+"/end; do i=$((i+1)); echo $i; sleep 0.01; done; echo $i >"+dir+"/count"))
	for range 5 {
		wire.setCut(true)
		if h := c[1].query(`{"all":true}`); len(h.runs) != 1 || h.runs[0]["state"] != "RUNNING" {
			t.Errorf("got %v", h)
		}
		wire.setCut(false)
		rig.Eventually(t, "it answers", func() bool { return c[0].abort("at.away", "nope", "1s").code == 404 })
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run := c[1].final("goes-on")
	l, err := c[0].agrees(run)
	want, _ := os.ReadFile(filepath.Join(dir, "count"))
	if run["state"] != "COMPLETE" || err != nil || fmt.Sprintln(len(l.lines)) != string(want) {
		t.Errorf("got %v, %d lines of %s, %v", run, len(l.lines), want, err)
	}
	if r.said("was taken") {
		t.Error("a run was taken from it")
	}
}

// A client that reads nothing, and one that dies while it follows, hurt neither
// the run nor another client.
func TestSlowAndDeadClients(t *testing.T) {
	s := newSite(t)
	s.runner(processConfig{Name: "a"})
	c := s.two()
	held := make(chan struct{})
	defer close(held)
	if _, err := c[0].nc.Subscribe("runner.log.>", func(*nats.Msg) { <-held }); err != nil {
		t.Fatal(err)
	}
	dead, err := dial(s.url, s.seed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dead.SubscribeSync("runner.log.>"); err != nil {
		t.Fatal(err)
	}
	const lines = 200_000
	if err := dead.PublishRequest("runner.task.any", dead.NewInbox(), []byte(
		fmt.Sprintf(`{"kind":"runner","metadata":{"id":"flood"},"spec":{"task":{"commands":["seq %d"]}}}`, lines))); err != nil {
		t.Fatal(err)
	}
	if err := dead.Flush(); err != nil {
		t.Fatal(err)
	}
	dead.Close()
	rig.Eventually(t, "the run is known", func() bool { return c[1].query(`{"runs":["flood"]}`).code == 0 })
	run := c[1].final("flood")
	if l, err := c[1].agrees(run); err != nil || len(l.lines) != lines || run["state"] != "COMPLETE" {
		t.Errorf("got %v, %d lines, %v", run, len(l.lines), err)
	}
}
