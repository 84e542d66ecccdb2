package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// copyDir copies a data directory as a golden image or a restore does.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// refused starts a runner that must not start, and returns why.
func (s *site) refused(cfg processConfig) string {
	s.t.Helper()
	p := s.prepared(cfg)
	line, text := p.tryStart()
	if line == "ready\n" {
		p.kill()
		s.t.Fatalf("a twin of runner %s has started", cfg.Name)
	}
	_ = p.cmd.Wait()
	p.cmd = nil
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// lives says that a run goes on, by its record.
func (c caller) lives(id string) {
	c.t.Helper()
	if got := c.wait(id, `"states":["RUNNING"]`); got["state"] != "RUNNING" {
		c.t.Errorf("the first one's run: got %v, want RUNNING", got)
	}
}

// A copied data directory on the same host: the copy is refused, and the first
// one's run goes on.
func TestTwinOnTheSameHost(t *testing.T) {
	s, mark := newSite(t), mark()
	first := s.runner(processConfig{Name: "a"})
	c := s.two()
	c[0].start("at.a", "long", `{"argv":["sleep","`+mark+`"]}`)
	twin := copyDir(t, first.cfg.DataDir)
	why := s.refused(processConfig{Name: "a", DataDir: twin})
	if !strings.Contains(why, twin+" is a copy of that of runner a on host ") || !strings.HasSuffix(why, "which lives") {
		t.Errorf("got %q", why)
	}
	c[0].lives("long")

	// Under another name it gets an identity of its own, and kills nothing.
	other := s.runner(processConfig{Name: "b", DataDir: twin})
	if !other.said("new instance id") {
		t.Error("the copy has kept its instance id")
	}
	c[0].lives("long")
	if out, err := exec.Command("pgrep", "-f", "sleep "+mark).Output(); err != nil || len(out) == 0 {
		t.Errorf("the first one's process is gone: %v", err)
	}
}

// A runner of another instance takes no name of one that lives.
func TestTwinWithAnotherInstance(t *testing.T) {
	s := newSite(t)
	s.runner(processConfig{Name: "a"})
	if why := s.refused(processConfig{Name: "a"}); !strings.Contains(why, "another runner is called a already") {
		t.Errorf("got %q", why)
	}
}

// A twin on what looks like another machine is refused even while the first one
// is not to be seen, and adopts the directory when it is told to.
func TestTwinOnAnotherMachine(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting another machine id needs root")
	}
	s := newSite(t)
	first := s.runner(processConfig{Name: "a"})
	twin := copyDir(t, first.cfg.DataDir)
	elsewhere := processConfig{Name: "a", DataDir: twin, MachineID: "0123456789abcdef0123456789abcdef"}
	if why := s.refused(elsewhere); !strings.Contains(why, "is a copy of that of runner a") || !strings.Contains(why, "which lives") {
		t.Errorf("while the first lives: got %q", why)
	}
	elsewhere.Adopt = true
	if why := s.refused(elsewhere); !strings.Contains(why, "which lives") {
		t.Errorf("adopting from one that lives: got %q", why)
	}
	first.kill()
	elsewhere.Adopt = false
	if why := s.refused(elsewhere); !strings.Contains(why, "which may still live there") {
		t.Errorf("while the first is silent: got %q", why)
	}
	elsewhere.Adopt = true
	s.runner(elsewhere)

	// The first one is back, with what it had: now it is the twin.
	if why := s.refused(first.cfg); !strings.Contains(why, "another runner is called a already") {
		t.Errorf("the first one after it was adopted: got %q", why)
	}
}

// farAway makes a network namespace with a link to this one, and returns its name
// and the address here at which it reaches the site's server.
func (s *site) farAway() (netns, url string) {
	s.t.Helper()
	if os.Getuid() != 0 {
		s.t.Skip("a network namespace needs root")
	}
	name := fmt.Sprint("rnl", os.Getpid()%100000)
	const here, there = "169.254.231.1", "169.254.231.2"
	ip := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := ip("netns", "add", name); err != nil {
		s.t.Skip(err)
	}
	s.t.Cleanup(func() {
		if err := ip("netns", "del", name); err != nil {
			s.t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"link", "add", name + "a", "type", "veth", "peer", "name", name + "b", "netns", name},
		{"addr", "add", here + "/30", "dev", name + "a"},
		{"link", "set", name + "a", "up"},
		{"-n", name, "addr", "add", there + "/30", "dev", name + "b"},
		{"-n", name, "link", "set", name + "b", "up"},
	} {
		if err := ip(args...); err != nil {
			s.t.Skip(err)
		}
	}
	l, err := net.Listen("tcp", here+":0")
	if err != nil {
		s.t.Fatal(err)
	}
	relay := relayTo(l, fmt.Sprint("127.0.0.1:", s.port))
	s.t.Cleanup(relay)
	return name, "nats://" + l.Addr().String()
}

// relayTo passes connections on until it is closed.
func relayTo(l net.Listener, to string) (stop func()) {
	var all sync.WaitGroup
	var open sync.Map
	all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			open.Store(from, true)
			open.Store(server, true)
			for _, pair := range [][2]net.Conn{{from, server}, {server, from}} {
				all.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // its end is the other's
					pair[0].Close()
				})
			}
		}
	})
	return func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		all.Wait()
	}
}

// A twin with another machine id and another network: it hears of the first one
// through NATS alone, and is refused in words. The first one's run goes on.
func TestTwinInAnotherNetwork(t *testing.T) {
	s := newSite(t)
	netns, url := s.farAway()
	first := s.runner(processConfig{Name: "a"})
	c := s.two()
	c[0].start("at.a", "long", `{"argv":["sleep","`+mark()+`"]}`)
	elsewhere := processConfig{Name: "a", DataDir: copyDir(t, first.cfg.DataDir), MachineID: "0123456789abcdef0123456789abcdef", Netns: netns, URL: url}
	why := s.refused(elsewhere)
	if !strings.Contains(why, "is a copy of that of runner a on host ") || !strings.HasSuffix(why, "which lives") {
		t.Errorf("got %q", why)
	}
	c[0].lives("long")
	elsewhere.Name = "b"
	if other := s.runner(elsewhere); !other.said("new instance id") {
		t.Error("the copy has kept its instance id")
	}
	c[1].start("at.b", "far", `{"argv":["true"]}`)
	if run := c[1].final("far"); run["state"] != "COMPLETE" {
		t.Errorf("a run in the other network: %v", run)
	}
	c[0].lives("long")
}

// The card tells of the host by the name that it has now.
func TestCardFollowsTheHostsName(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("renaming a host needs root")
	}
	s := newSite(t)
	r := s.runner(processConfig{Name: "a", Hostname: "before"})
	c := s.two()
	host := func() string {
		js, err := c[0].nc.JetStream()
		if err != nil {
			t.Fatal(err)
		}
		msg, err := js.GetLastMsg("KV_runner_fleet", "$KV.runner_fleet.a")
		if err != nil {
			t.Fatal(err)
		}
		var card struct{ Host string }
		if err := json.Unmarshal(msg.Data, &card); err != nil {
			t.Fatal(err)
		}
		return card.Host
	}
	if got := host(); got != "before" {
		t.Fatalf("got %q", got)
	}
	out, err := exec.Command("nsenter", fmt.Sprint("--uts=/proc/", r.cmd.Process.Pid, "/ns/uts"), "hostname", "after").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rig.Eventually(t, "the card has the new name", func() bool { return host() == "after" })
}

// After a crash the directory's lock shows the predecessor dead: no waiting.
func TestRestartAfterACrashIsAtOnce(t *testing.T) {
	s := newSite(t)
	r := s.runner(processConfig{Name: "a", CardInterval: 10 * time.Second, OfflineAfter: 5 * time.Minute, LostAfterFor: 10 * time.Minute})
	r.kill()
	began := time.Now()
	r.start()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

// A runner in whose card another start number stands has lost its identity: it
// ends its runs and answers nothing more.
func TestSupersededRunnerEndsItsRuns(t *testing.T) {
	f, mark := newFleet(t), mark()
	s := f.start(service.Config{CardInterval: 100 * time.Millisecond})
	f.ask("runner.task.at.web1", `{"kind":"runner","metadata":{"id":"long"},"spec":{"task":{"argv":["sleep","`+mark+`"]}}}`).ok(t)
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue("runner_fleet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString("web1", "by hand"); err != nil { // no start number: no reason to end
		t.Fatal(err)
	}
	rig.Eventually(t, "a card that was written by hand is written again", func() bool {
		entry, err := kv.Get("web1")
		return err == nil && strings.Contains(string(entry.Value()), `"start":`)
	})
	if s.Err() != nil {
		t.Fatalf("got %v", s.Err())
	}
	if _, err := kv.PutString("web1", `{"name":"web1","instance":"other","start":99,"host":"h2"}`); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(rig.Patience):
		t.Fatal("it goes on")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "on host h2) has taken over its identity") {
		t.Errorf("got %v", err)
	}
	rig.Eventually(t, "its processes are gone", func() bool {
		return exec.Command("pgrep", "-f", "sleep "+mark).Run() != nil
	})
	if _, err := f.nc.Request("runner.glance.at.web1", []byte(`{"kind":"runner","spec":{"glance":{}}}`), time.Second); err == nil {
		t.Error("it still answers")
	}
	s.Close()
	if entry, err := kv.Get("web1"); err != nil || !strings.Contains(string(entry.Value()), `"start":99`) {
		t.Errorf("the card is not the other's any more: %v", err)
	}
}

// NATS is away at the start: nothing is recovered before it says that this is
// the one runner.
func TestStartWaitsForNATSBeforeItRecovers(t *testing.T) {
	f := newFleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	nc := f.connect()
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := service.Start(ctx, nc, service.Config{Name: "web1", DataDir: t.TempDir(), OnDemand: true})
	if err == nil || errors.Is(err, service.ErrCopied) {
		t.Errorf("got %v", err)
	}
}
