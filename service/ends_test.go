package service_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/rig"
)

// ends is when a run has ended that ignores SIGTERM, and how.
type ending struct {
	state, reason, signal string
	least                 time.Duration
}

// slack is what an end may be late: in earnest on a quiet machine (tests/prove),
// with all that a busy one may need elsewhere.
func slack(inEarnest time.Duration) time.Duration {
	if os.Getenv("RUNNEL_LONG") != "" {
		return inEarnest
	}
	return 20 * time.Second
}

// A grace is what a timeout and an abort give, as far as the policy lets them;
// no limit does.
func TestGraceBeatsNoLimit(t *testing.T) {
	if os.Getenv("RUNNEL_LONG") == "" { // what is measured is measured alone
		t.Parallel()
	}
	f := newFleet(t)
	most := 600 * time.Millisecond
	f.start(service.Config{Settings: service.Settings{Policy: &policy.Policy{Grace: policy.GraceRules{Max: &most}}}})
	f.start(service.Config{Name: "web2", Settings: service.Settings{Policy: &policy.Policy{Timeout: policy.TimeoutRules{Max: time.Second}}}})
	f.start(service.Config{Name: "free"})
	// A second until SIGTERM: the shell must have come to its trap by then.
	const stubborn = `trap '' TERM; while :; do sleep 1; done`
	const long = `"grace":"1000h"`
	killed := func(least time.Duration) ending { return ending{"TIMEDOUT", "timeout", "SIGKILL", least} }
	c := f.two()
	for i, row := range []struct {
		name, at, task string
		want           ending
	}{
		{"wallTime", "free", commands(stubborn, `"limits":{"wallTime":"300ms"}`, `"grace":"59s"`), killed(300 * time.Millisecond)},
		{"wallTime in the grace of a timeout", "free", commands(stubborn, `"timeout":"1s"`, `"limits":{"wallTime":"1400ms"}`, `"grace":"59s"`), killed(1400 * time.Millisecond)},
		{"wallTime of a stopped tree", "free", commands(`(kill -STOP $BASHPID) & kill -STOP $$`, `"limits":{"wallTime":"300ms"}`, `"grace":"59s"`), killed(300 * time.Millisecond)},
		{"output limit", "free", commands(`trap '' TERM; yes`, `"limits":{"outputBytes":1000}`, `"grace":"59s"`), ending{"COMPLETE", "output-limit", "SIGKILL", 0}},
		{"a timeout whose grace the policy caps", "web1", commands(stubborn, `"timeout":"1s"`, long), killed(1600 * time.Millisecond)},
		{"the policy's timeout caps it, too", "web2", commands(stubborn, long), killed(2 * time.Second)},
		{"a language has none", "free", codeTask("bash", stubborn, `,"isolation":"none","timeout":"300ms"`), killed(300 * time.Millisecond)},
		{"unless asked", "free", codeTask("bash", stubborn, `,"isolation":"none","timeout":"1s","grace":"400ms"`), killed(1400 * time.Millisecond)},
	} {
		t.Run(row.name, func(t *testing.T) {
			id := fmt.Sprint("stubborn", i)
			began := time.Now()
			c[i%2].start("at."+row.at, id, row.task)
			run := c[i%2].final(id)
			took := time.Since(began)
			got := ending{fmt.Sprint(run["state"]), fmt.Sprint(run["reason"]), fmt.Sprint(run["signal"]), row.want.least}
			if got != row.want || took < row.want.least || took > row.want.least+slack(200*time.Millisecond) {
				t.Errorf("after %s: got %+v, want %+v", took, got, row.want)
			}
		})
	}
}

// The end of a drain's time cuts short every grace, also one that is running.
func TestDrainCutsGraceShort(t *testing.T) {
	f := newFleet(t)
	s := f.start(service.Config{})
	c := f.two()
	dir := t.TempDir()
	for _, id := range []string{"aborted", "running"} {
		c[0].start("any", id, commands(`trap '' TERM; touch `+filepath.Join(dir, id)+`; while :; do sleep 1; done`, `"grace":"59s"`))
	}
	for _, id := range []string{"aborted", "running"} {
		c[0].wait(id, `"states":["RUNNING"]`)
		rig.Eventually(t, id+" ignores SIGTERM", func() bool { _, err := os.Stat(filepath.Join(dir, id)); return err == nil })
	}
	c[1].abort("any", "aborted", "0s")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	s.Drain(ctx)
	if took := time.Since(began); took > 300*time.Millisecond+slack(2*time.Second) {
		t.Errorf("it drained for %s", took)
	}
	f.start(service.Config{Name: "other"})
	for _, id := range []string{"aborted", "running"} {
		if run := c[1].final(id); run["state"] != "ABORTED" || run["signal"] != "SIGKILL" {
			t.Errorf("%s: got %v", id, run)
		}
	}
}
