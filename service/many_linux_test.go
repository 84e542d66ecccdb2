package service_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// holds is what this process has of the system.
type holds struct{ goroutines, threads, descriptors int }

func holdsNow(t *testing.T) holds {
	t.Helper()
	count := func(dir string) int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	return holds{runtime.NumGoroutine(), count("/proc/self/task"), count("/proc/self/fd")}
}

// Five hundred sleeping tasks cost a goroutine or two each and no thread; when
// they are over, nothing of them is left.
func TestFiveHundredAtOnce(t *testing.T) {
	const runs = 500
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{Slots: runs}})
	batch := func(prefix string, n int) {
		t.Helper()
		inbox := f.nc.NewInbox()
		sub, err := f.nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
		for i := range n {
			body := fmt.Sprintf(`{"kind":"runner","metadata":{"id":"%s%d"},"spec":{"task":{"argv":["sleep","1000"]}}}`, prefix, i)
			if err := f.nc.PublishRequest("runner.task.at.web1", inbox, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		for range n {
			msg, err := sub.NextMsg(rig.Patience)
			if err != nil {
				t.Fatal(err)
			}
			a := answer{Msg: msg}
			if err := json.Unmarshal(msg.Data, &a.body); err != nil || a.text("run", "state") != "RUNNING" {
				t.Fatalf("got %s", msg.Data)
			}
		}
	}
	end := func(prefix string, n int) {
		t.Helper()
		for i := range n {
			f.ask("runner.abort.any", fmt.Sprintf(`{"kind":"runner","spec":{"abort":{"run":"%s%d","wait":"20s"}}}`, prefix, i)).ok(t)
		}
	}
	batch("warm", 20)
	end("warm", 20)
	var before, during, after holds
	rig.Eventually(f.t, "nothing of the first runs is left", func() bool {
		was := before
		before = holdsNow(t)
		return before.goroutines == was.goroutines && before.descriptors == was.descriptors
	})
	batch("r", runs)
	rig.Eventually(f.t, "all of them sleep", func() bool { return sleepers(t) == runs })
	during = holdsNow(t)
	if extra := during.goroutines - before.goroutines; extra > 2*runs+runs/5 {
		t.Errorf("%d more goroutines for %d runs", extra, runs)
	}
	// Go makes threads while many programs start at once, and keeps them.
	if extra := during.threads - before.threads; extra > runs/5 {
		t.Errorf("%d more threads for %d runs", extra, runs)
	}
	t.Logf("before %+v, during %+v", before, during)
	end("r", runs)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("after %+v", after)
		}
	})
	rig.Eventually(f.t, fmt.Sprintf("all is as it was, %+v", before), func() bool {
		after = holdsNow(t)
		// Go keeps a few threads that it had to make, and the server a few files of the
		// index of runs, with what writes them; a run that left anything would leave 500.
		return after.goroutines <= before.goroutines+20 && after.descriptors <= before.descriptors+20 && after.threads <= before.threads+runs/5
	})
	if n := sleepers(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// sleepers counts the children that have become sleep.
func sleepers(t *testing.T) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		children, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err != nil {
			continue
		}
		var pid int
		for rest := string(children); ; {
			if _, err := fmt.Sscan(rest, &pid); err != nil {
				break
			}
			if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(name) == "sleep\n" {
				n++
			}
			rest = rest[len(fmt.Sprint(pid))+1:]
		}
	}
	return n
}
