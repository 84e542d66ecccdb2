package service_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/tests/rig"
)

// kill -9 at any moment: after the restart no process of an earlier life is
// left, no run says RUNNING, every record and log agree, and nothing was
// started twice.
func TestKillNine(t *testing.T) {
	t.Parallel()
	for _, noCgroup := range []bool{false, true} {
		t.Run(fmt.Sprintf("noCgroup=%v", noCgroup), func(t *testing.T) { killNine(t, noCgroup, 8) })
	}
}

func killNine(t *testing.T, noCgroup bool, rounds int) {
	s := newSite(t)
	dir, mark := t.TempDir(), mark()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	started := func(id string) string { return "echo x >>" + filepath.Join(dir, id) + "; " }
	shells := map[string]string{
		"true":  "true",
		"chat":  "i=0; while test $i -lt 300; do echo line $i of some length; i=$((i+1)); done",
		"slow":  "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.03; done",
		"quiet": "sleep " + mark,
		"tree":  "sleep " + mark + " & setsid sleep " + mark + " & (setsid sh -c 'sleep " + mark + " & sleep " + mark + "' &); sleep " + mark,
	}
	r := s.runner(processConfig{Name: "a", NoCgroup: noCgroup})
	c := s.two()
	accepted := map[string]bool{}
	for round := range rounds {
		type asked struct {
			id string
			h  heard
		}
		answers := make(chan asked, 2*len(shells))
		for kind, shell := range shells {
			for i, c := range c {
				id := fmt.Sprintf("%s-%d-%d", kind, round, i)
				task := commands(started(id) + shell)
				if i == 1 {
					task = `{"file":{"content":"` + base64.StdEncoding.EncodeToString([]byte("#!/bin/bash\n"+started(id)+shell)) + `"}}`
				}
				go func() {
					msg, err := c.nc.Request("runner.task.at.a", []byte(`{"kind":"runner","metadata":{"id":"`+id+`"},"spec":{"task":`+task+`}}`), 300*time.Millisecond)
					if err == nil && msg.Header.Get("Nats-Service-Error-Code") != "" {
						err = fmt.Errorf("%s", msg.Data)
					}
					answers <- asked{id, heard{err: err}}
				}()
			}
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond) // the moment
		r.kill()
		for range cap(answers) {
			if a := <-answers; a.h.err == nil {
				accepted[a.id] = true
			}
		}
		r.start()
		if left := processesWith(t, mark); len(left) > 0 {
			t.Fatalf("round %d: left behind: %q", round, left)
		}
		if left := r.left(); len(left) > 0 {
			t.Errorf("round %d: left behind: %q", round, left)
		}
		if h := c[0].query(`{"all":true,"states":["RUNNING","PENDING"]}`); h.code != 0 || h.err != nil || len(h.runs) > 0 {
			t.Errorf("round %d: still live: %v", round, h)
		}
	}
	known := map[string]bool{}
	for _, run := range c[1].query(`{"all":true,"limit":1000}`).runs {
		id := run["id"].(string)
		known[id] = true
		if run["state"] != "COMPLETE" && !isLost(run) || run["logComplete"] != (run["state"] == "COMPLETE") {
			t.Errorf("got %v", run)
		}
		if l, err := c[0].agrees(run); err != nil {
			t.Errorf("%v\n%q", err, l.lines)
		} else if strings.HasPrefix(id, "chat") && run["state"] == "COMPLETE" && len(l.lines) != 300 {
			t.Errorf("run %s says COMPLETE and has %d lines", id, len(l.lines))
		}
	}
	for id := range accepted {
		if !known[id] {
			t.Errorf("run %s was accepted and is not known", id)
		}
		b, _ := os.ReadFile(filepath.Join(dir, id))
		if len(b) > 2 {
			t.Errorf("run %s was started %d times", id, len(b)/2)
		}
	}
	t.Logf("%d runs, %d accepted", len(known), len(accepted))
}

// What waited on disk for the server is sent by the next life.
func TestSpoolIsSentAfterACrash(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.runner(processConfig{Name: "a"})
	c := s.two()
	printed := filepath.Join(t.TempDir(), "printed")
	count := func() int {
		b, _ := os.ReadFile(printed)
		return strings.Count(string(b), "\n")
	}
	c[0].start("any", "chatty", commands("i=0; while :; do i=$((i+1)); echo $i; echo $i >>"+printed+"; sleep 0.01; done"))
	rig.Eventually(t, "it prints", func() bool { return count() > 10 })
	s.close()
	spool := filepath.Join(r.cfg.DataDir, "spool", "chatty")
	size := func() int64 {
		info, err := os.Stat(spool)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	rig.Eventually(t, "it spools", func() bool { return size() > 0 })
	was, sure := size(), count()
	rig.Eventually(t, "what was printed is in the spool", func() bool { return size() > was && count() > sure+20 })
	r.kill()
	s.open()
	r.start()
	for _, h := range together(c, func(c caller) map[string]any { return c.final("chatty") }) {
		if !isLost(h) {
			t.Errorf("got %v", h)
		}
	}
	l, err := c[1].agrees(c[1].final("chatty"))
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range l.lines {
		if text != fmt.Sprint(i+1) {
			t.Fatalf("line %d is %q", i+1, text)
		}
	}
	if len(l.lines) < sure {
		t.Errorf("%d lines are stored; %d were on disk", len(l.lines), sure)
	}
	if left := r.left(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The server is gone for a while: tasks go on, nothing is lost or doubled,
// records catch up.
func TestServerGoneForAWhile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.runner(processConfig{Name: "a"})
	s.runner(processConfig{Name: "b"})
	c := s.two()
	dir := t.TempDir()
	for i := range 4 {
		c[i%2].start([]string{"at.a", "at.b"}[i%2], fmt.Sprint("r", i),
			commands("i=0; while ! test -e "+dir+"/end; do i=$((i+1)); echo $i; sleep 0.01; done; echo $i >"+dir+"/count"+fmt.Sprint(i)))
	}
	c[0].start("at.a", "ends-meanwhile", commands("until test -e "+dir+"/gone; do sleep 0.01; done; echo bye; touch "+dir+"/ended; exit 7"))
	s.close()
	for _, name := range []string{"gone", "ended"} {
		if name == "gone" {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rig.Eventually(t, name, func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil })
	}
	began := time.Now()
	rig.Eventually(t, "longer than a lost run takes", func() bool { return time.Since(began) > 3*time.Second })
	s.open()
	if run := c[1].final("ends-meanwhile"); run["state"] != "COMPLETE" || run["exitCode"] != 7.0 || run["lines"] != 1.0 {
		t.Errorf("got %v", run)
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		run := c[i%2].final(fmt.Sprint("r", i))
		l, err := c[0].agrees(run)
		if run["state"] != "COMPLETE" || err != nil {
			t.Errorf("got %v, %v", run, err)
		}
		want, _ := os.ReadFile(filepath.Join(dir, fmt.Sprint("count", i)))
		if fmt.Sprintln(len(l.lines)) != string(want) {
			t.Errorf("run %d: %d lines are stored, %s printed", i, len(l.lines), want)
		}
		for n, text := range l.lines {
			if text != fmt.Sprint(n+1) {
				t.Fatalf("run %d: line %d is %q", i, n+1, text)
			}
		}
	}
}

// SIGTERM drains: what runs ends by itself, and the process with 0.
func TestTermDrains(t *testing.T) {
	s := newSite(t)
	r := s.runner(processConfig{Name: "a"})
	c := s.two()
	c[0].start("at.a", "short", commands("echo begin; sleep 0.5; echo end"))
	r.signal(syscall.SIGTERM)
	rig.Eventually(t, "it drains", func() bool { h := c[0].task("at.a", "late", commands("true")); return h.code == 503 || h.err != nil })
	err := r.cmd.Wait()
	r.cmd = nil
	if err != nil {
		t.Errorf("the runner ended with %v", err)
	}
	b := s.runner(processConfig{Name: "b"})
	run := c[1].final("short")
	if l, err := c[0].agrees(run); err != nil || run["state"] != "COMPLETE" || len(l.lines) != 2 {
		t.Errorf("got %v, %q, %v", run, l.lines, err)
	}
	if left := append(r.left(), b.left()...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// An abort that was accepted is carried out while the server is killed and the
// spool is full; the record tells so once there is a server again.
func TestAbortWhileTheServerIsKilled(t *testing.T) {
	t.Parallel()
	s, mark := newSite(t), mark()
	s.runner(processConfig{Name: "a", SpoolMaxBytes: 64 << 10, CardInterval: time.Second, OfflineAfter: time.Minute, LostAfterFor: time.Hour})
	c := s.two()
	c[0].start("at.a", "flood", commands(fmt.Sprintf("trap '' TERM; yes %s; sleep 1000", mark), `"grace":"2s"`))
	rig.Eventually(t, "it prints", func() bool { return len(processesWith(t, mark)) > 0 })
	c[1].abort("any", "flood", "0s") // it is asked, and waits out the grace
	s.close()
	rig.Eventually(t, "the abort ends it without a server", func() bool { return len(processesWith(t, mark)) == 0 })
	s.open()
	if run := c[0].final("flood"); run["state"] != "ABORTED" || run["reason"] != "aborted" {
		t.Errorf("got %v", run)
	}
}
