package service_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
)

// A timeout ends the whole tree and keeps what was printed.
func TestTimeout(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	mark := mark()
	c[0].start("any", "slow", commands(fmt.Sprintf(`echo before; echo here >&2; setsid sleep %s & sleep %[1]s`, mark), `"timeout":"1500ms"`, `"grace":"1s"`))
	for _, run := range together(c, func(c caller) map[string]any { return c.final("slow") }) {
		if run["state"] != "TIMEDOUT" || run["reason"] != "timeout" || run["lines"] != 2.0 {
			t.Errorf("got %v", run)
		}
		if l, err := c[0].agrees(run); err != nil || len(l.lines) != 2 {
			t.Errorf("got %q, %v", l.lines, err)
		}
	}
	if left := processesWith(t, mark); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// What ignores SIGTERM has its grace and no more.
	began := time.Now()
	c[1].start("any", "stubborn", commands(`trap '' TERM; while :; do sleep 1; done`, `"timeout":"1500ms"`, `"grace":"300ms"`))
	if run := c[0].final("stubborn"); run["state"] != "TIMEDOUT" || run["signal"] != "SIGKILL" || time.Since(began) < 1800*time.Millisecond {
		t.Errorf("after %s: got %v", time.Since(began), run)
	}
	// One that ends in time is not touched.
	c[1].start("any", "quick", commands("exit 5", `"timeout":"1h"`))
	if run := c[0].final("quick"); run["state"] != "COMPLETE" || run["exitCode"] != 5.0 {
		t.Errorf("got %v", run)
	}
}

// The time in the backlog is not the timeout's but that of expires.
func TestTimeInTheBacklog(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{Slots: 1}})
	c := f.two()
	c[0].start("any", "first", commands("sleep 1000"))
	c[0].start("at.web1", "waits", commands("echo ran", `"timeout":"1s"`))
	c[1].start("at.web1", "expires", commands("echo ran", `"expires":"1200ms"`))
	began := time.Now()
	for _, run := range together(c, func(c caller) map[string]any { return c.final("expires") }) {
		if run["state"] != "FAILED" || run["reason"] != "expired" || run["started"] != nil || run["lines"] != 0.0 {
			t.Errorf("got %v", run)
		}
		if _, err := c[0].agrees(run); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took < time.Second {
		t.Fatalf("it expired after %s", took)
	}
	c[1].abort("any", "first", "10s") // "waits" has waited for longer than its timeout by now
	if run := c[0].final("waits"); run["state"] != "COMPLETE" || run["lines"] != 1.0 {
		t.Errorf("got %v", run)
	}
}
