package service_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// With slots and backlog full a runner says so; what waits goes first in first out.
func TestPlaces(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "a", Settings: service.Settings{Slots: 2, Backlog: 4}})
	c := f.two()
	dir := t.TempDir()
	c[0].start("any", "first", commands("sleep 1000"))
	c[1].start("any", "second", commands("sleep 1000"))
	order := filepath.Join(dir, "order")
	for i := range 4 {
		id := fmt.Sprint("w", i)
		h := c[i%2].start("at.a", id, commands("echo "+id+" >>"+order))
		if h.run["state"] != "PENDING" {
			t.Errorf("%s: got %v", id, h)
		}
	}
	for _, h := range together(c, func(c caller) heard { return c.task("at.a", "one-too-many", commands("true")) }) {
		if h.code != 503 || h.text != "No resources available. Please try later." {
			t.Errorf("got %v", h)
		}
	}
	rig.Eventually(t, "it has left the any groups", func() bool {
		return errors.Is(c[0].task("any", "nobody", commands("true")).err, nats.ErrNoResponders)
	})
	// The same request again is answered, full or not.
	for _, h := range together(c, func(c caller) heard { return c.task("at.a", "first", commands("sleep 1000")) }) {
		if h.run["id"] != "first" || h.run["state"] != "RUNNING" {
			t.Errorf("got %v", h)
		}
	}
	c[0].abort("any", "first", "10s")
	for i := range 4 {
		if run := c[i%2].final(fmt.Sprint("w", i)); run["state"] != "COMPLETE" {
			t.Errorf("got %v", run)
		}
	}
	if got, err := os.ReadFile(order); err != nil || string(got) != "w0\nw1\nw2\nw3\n" {
		t.Errorf("got order %q, %v", got, err)
	}
	rig.Eventually(t, "it is in the any groups again", func() bool {
		return c[1].task("any", "somebody", commands("true")).run["id"] == "somebody"
	})
}

// Runners leave and join the any groups all the time, and no request is lost:
// each gets a run or "no responders", at once.
func TestLeavingAndJoiningLosesNothing(t *testing.T) {
	f := newFleet(t)
	for _, name := range []string{"a", "b"} {
		f.start(service.Config{Name: name, Settings: service.Settings{Slots: 2}, Pools: []string{"p"}})
	}
	const each = 150
	dir := t.TempDir()
	var accepted, turnedAway atomic.Int64
	var wg sync.WaitGroup
	for i, c := range f.two() {
		for w := range 4 {
			wg.Go(func() {
				for n := range each / 4 {
					id := fmt.Sprintf("r%d-%d-%d", i, w, n)
					scope := []string{"any", "pool.p.any"}[n%2]
					for {
						h := c.task(scope, id, commands("echo x >>"+dir+"/"+id))
						if errors.Is(h.err, nats.ErrNoResponders) {
							turnedAway.Add(1)
							time.Sleep(time.Millisecond) // as a client would
							continue
						}
						if h.err != nil || h.code != 0 {
							t.Errorf("%s: %v", id, h)
							return
						}
						accepted.Add(1)
						break
					}
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d accepted, %d times nobody was free", accepted.Load(), turnedAway.Load())
	c := f.two()
	rig.Eventually(t, "all are final", func() bool {
		h := c[0].query(`{"all":true,"states":["PENDING","RUNNING"],"limit":1}`)
		return h.err == nil && h.code == 0 && len(h.runs) == 0
	})
	files, err := os.ReadDir(dir)
	if err != nil || int64(len(files)) != accepted.Load() {
		t.Errorf("%d have run of %d: %v", len(files), accepted.Load(), err)
	}
	for _, file := range files {
		if b, _ := os.ReadFile(filepath.Join(dir, file.Name())); string(b) != "x\n" {
			t.Errorf("%s was started %d times", file.Name(), strings.Count(string(b), "x"))
		}
	}
}

// Whoever asks again gets the run there is: a lost reply costs nothing.
func TestAskingAgainStartsNothing(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Name: "a"})
	f.start(service.Config{Name: "b"})
	c := f.two()
	dir := t.TempDir()
	for round := range 30 {
		id := fmt.Sprint("same", round)
		task := commands("echo x >>" + dir + "/" + id)
		got := together(c, func(c caller) heard { return c.task("any", id, task) }) // perhaps two runners at once
		for _, h := range got {
			if h.run["id"] != id || h.run["runner"] != got[0].run["runner"] {
				t.Fatalf("got %v and %v", got[0], got[1])
			}
		}
		if run := c[0].final(id); run["state"] != "COMPLETE" {
			t.Errorf("got %v", run)
		}
		for _, h := range together(c, func(c caller) heard { return c.task("any", id, task) }) {
			if h.run["state"] != "COMPLETE" {
				t.Errorf("after its end: got %v", h)
			}
		}
		for _, h := range together(c, func(c caller) heard { return c.task("any", id, commands("echo other")) }) {
			if h.code != 409 {
				t.Errorf("another request with its id: got %v", h)
			}
		}
		if b, err := os.ReadFile(filepath.Join(dir, id)); string(b) != "x\n" {
			t.Errorf("%s was started %d times, %v", id, strings.Count(string(b), "x"), err)
		}
	}
}
