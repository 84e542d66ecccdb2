package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/sandbox"
)

// sleeper is a number of seconds that no other process sleeps for, so that an argument names our processes, whatever they did to their environment.
func sleeper() string { return strconv.FormatInt(100000+time.Now().UnixNano()%1e9, 10) }

// trees are the ways in which a run's processes try to outlive it. N is replaced by a sleeper, SELF by the test binary. Each prints "ready".
var trees = []struct {
	name   string
	script string
	ways   []string
}{
	{"plain", `echo ready; sleep N`, allWays},
	{"child holds the pipes", `sleep N & echo ready; wait`, allWays},
	{"child does not", `sleep N >/dev/null 2>&1 & echo ready; wait`, allWays},
	{"setsid", `setsid sleep N >/dev/null 2>&1 & echo ready; wait`, []string{byCgroup, byScan}},
	{"setsid holds the pipes", `setsid sleep N & echo ready; wait`, []string{byCgroup, byScan}},
	{"double fork", `(setsid sh -c 'sleep N >/dev/null 2>&1 & sleep N >/dev/null 2>&1 &'); echo ready; sleep N`, []string{byCgroup, byScan}},
	{"clears its environment", `env -i sleep N >/dev/null 2>&1 & echo ready; wait`, allWays},
	{"setsid and clears", `setsid env -i sleep N >/dev/null 2>&1 & echo ready; wait`, []string{byCgroup, byScan}},
	{"double fork and clears, holds the pipes", `(setsid sh -c 'env -i sleep N &'); echo ready; sleep N`, []string{byCgroup, byScan}},
	{"double fork and clears, holds nothing", `(setsid sh -c 'env -i sleep N >/dev/null 2>&1 &'); echo ready; sleep N`, []string{byCgroup}},
	{"ignores SIGTERM", `trap '' TERM; sleep N & echo ready; while :; do sleep N; done`, allWays},
	{"stops itself", `sleep N & echo ready; kill -STOP $$`, allWays},
	{"stopped children", `setsid sh -c 'sleep N & kill -STOP $$' & sleep 0.1; echo ready; sleep N`, []string{byCgroup, byScan}},
	{"forks all the time", `f() { sleep N & sleep 0.01; }; (while :; do (f) done) >/dev/null 2>&1 & echo ready; sleep N`, allWays},
}

// slack is what an end may be late: in earnest on a quiet machine (tests/prove ends),
// with all that a busy one may need elsewhere.
func slack(inEarnest time.Duration) time.Duration {
	if os.Getenv("RUNNEL_LONG") != "" {
		return inEarnest
	}
	return 30 * time.Second
}

// Abort leaves nobody, within the grace and a second.
func TestAbortEndsTheTree(t *testing.T) {
	const grace = 300 * time.Millisecond
	for _, way := range allWays {
		t.Run(way, func(t *testing.T) {
			h := newHost(t, way)
			for _, tree := range trees {
				if !contains(tree.ways, way) {
					continue
				}
				t.Run(tree.name, func(t *testing.T) {
					n := sleeper()
					p := start(t, h, sandbox.Spec{Argv: sh(strings.ReplaceAll(tree.script, "N", n))})
					var began time.Time
					_, err := p.Pump(func(_ int, data []byte) error {
						if began.IsZero() && strings.Contains(string(data), "ready") {
							began = time.Now()
							p.Terminate(grace)
						}
						return nil
					}, nil)
					took := time.Since(began)
					if err != nil {
						t.Error(err)
					}
					if took > grace+slack(time.Second) {
						t.Errorf("it took %v", took)
					}
					checkGone(t, way, n)
				})
			}
			if left := sandbox.Leaves(t, h); len(left) > 0 {
				t.Errorf("leaves left: %v", left)
			}
		})
	}
}

// When the main process ends by itself, what it left behind is killed, and its status is its own.
func TestEndOfMainEndsTheTree(t *testing.T) {
	for _, way := range allWays {
		t.Run(way, func(t *testing.T) {
			h := newHost(t, way)
			for _, tree := range trees {
				switch {
				case !contains(tree.ways, way), tree.name == "stops itself":
					continue
				case way == byScan && tree.name == "setsid and clears": // its parent is gone: the one kind that a scan can't find
					continue
				}
				t.Run(tree.name, func(t *testing.T) {
					n := sleeper()
					script := tree.script
					if at := strings.Index(script, "echo ready"); at >= 0 {
						script = script[:at] + "echo ready; exit 5"
					}
					p := start(t, h, sandbox.Spec{Argv: sh(strings.ReplaceAll(script, "N", n))})
					began := time.Now()
					var out output
					status, err := p.Pump(out.take, nil)
					if err != nil || status.ExitCode != 5 || out[0].String() != "ready\n" {
						t.Errorf("got %+v, %v, %q", status, err, &out[0])
					}
					if took := time.Since(began); took > slack(2*time.Second) {
						t.Errorf("it took %v", took)
					}
					checkGone(t, way, n)
				})
			}
		})
	}
}

// checkGone fails if a sleeper lives. What is held by its group alone is killed, but not waited for.
func checkGone(t *testing.T, way, n string) {
	t.Helper()
	left := sandbox.HasCmdline(t, n)
	for deadline := time.Now().Add(slack(time.Second)); way == byGroup && len(left) > 0 && time.Now().Before(deadline); left = sandbox.HasCmdline(t, n) {
		time.Sleep(time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("left alive: %v", left)
		killAll(left)
	}
}

func contains(list []string, one string) bool {
	for _, entry := range list {
		if entry == one {
			return true
		}
	}
	return false
}

func killAll(pids []int) {
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// A run that can't be asked is asked once more and killed by the earlier deadline; a run that ends when asked reports its own end.
func TestTerminate(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		p := start(t, h, sandbox.Spec{Argv: sh(`trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.01; done`)})
		var out output
		status, err := p.Pump(func(stream int, data []byte) error {
			if out[0].Len() == 0 {
				p.Terminate(time.Minute)
			}
			return out.take(stream, data)
		}, nil)
		if err != nil || status.ExitCode != 9 || out[0].String() != "ready\nbye\n" {
			t.Errorf("got %+v, %v, %q", status, err, &out[0])
		}
		p.Terminate(time.Second) // too late, and harmless
		p.Kill()

		p = start(t, h, sandbox.Spec{Argv: sh(`trap '' TERM; echo ready; while :; do sleep 0.01; done`)})
		began := time.Now()
		status, err = p.Pump(func(int, []byte) error {
			p.Terminate(time.Minute)
			p.Terminate(100 * time.Millisecond)
			p.Terminate(time.Hour)
			return nil
		}, nil)
		if took := time.Since(began); err != nil || status.SignalName() != "SIGKILL" || took > slack(5*time.Second) {
			t.Errorf("got %+v, %v after %v", status, err, took)
		}
	})
}

// Killed while starting, at any moment, by several at once.
func TestKillRightAfterStart(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		run(t, h, sandbox.Spec{Argv: []string{"true"}}) // what is opened once is open
		before := used(t)
		for i := range 100 {
			p := start(t, h, sandbox.Spec{Argv: sh("sleep 100 & sleep 100 & wait")})
			go p.Kill()
			go p.Terminate(time.Duration(i) * 10 * time.Microsecond)
			if status, err := p.Pump(nil, nil); err != nil || status.Signal == 0 {
				t.Fatalf("got %+v, %v", status, err)
			}
		}
		var after resources
		defer func() { t.Logf("before %+v, after %+v", before, after) }()
		until(t, "goroutines and descriptors to end", slack(time.Second), func() bool {
			after = used(t)
			return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors
		})
	})
}

// One run's end leaves the others alone, and an id can be used once at a time.
func TestOthersLive(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		long := start(t, h, sandbox.Spec{ID: "long", Argv: sh("setsid sleep 0.5; echo lived")})
		if _, err := h.Start(sandbox.Spec{ID: "long", Argv: []string{"true"}}); err == nil {
			t.Error("a live run's id was taken")
		}
		for range 20 {
			run(t, h, sandbox.Spec{Argv: sh("sleep 100 & true")})
		}
		var out output
		if status, err := long.Pump(out.take, nil); err != nil || status.ExitCode != 0 || out[0].String() != "lived\n" {
			t.Errorf("got %+v, %v, %q", status, err, &out[0])
		}
	})
}

// An id can be used again at once.
func TestSameIDAgain(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		for range 100 {
			run(t, h, sandbox.Spec{ID: "same", Argv: []string{"true"}})
		}
	})
}

// What a runner that was killed left behind is found by the next one with its prefix, and nothing else is.
func TestSweep(t *testing.T) {
	for _, way := range []string{byCgroup, byScan} {
		t.Run(way, func(t *testing.T) {
			n, other := sleeper(), sleeper()+"0"
			prefix := fmt.Sprintf("rt-sweep-%d-%s-", os.Getpid(), way)
			h := openHost(t, way, sandbox.Config{Prefix: prefix})
			live := start(t, h, sandbox.Spec{ID: "live", Argv: []string{"sleep", other}})

			runner := exec.Command(os.Args[0], way, prefix, n)
			runner.Env = append(os.Environ(), "TEST_CHILD=runner")
			if err := runner.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the runner's tree", time.Minute, func() bool { return len(sandbox.HasCmdline(t, n)) >= 4 }) // 3 sleeps and the runner
			if err := runner.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = runner.Wait()
			if left := sandbox.HasCmdline(t, n); len(left) < 3 {
				t.Fatalf("the runner's tree died with it: %v", left)
			}
			if err := h.Sweep(); err != nil {
				t.Error(err)
			}
			if left := sandbox.HasCmdline(t, n); len(left) > 0 {
				t.Errorf("left alive: %v", left)
				killAll(left)
			}
			if way == byCgroup {
				if left := sandbox.Leaves(t, h); len(left) != 1 || left[0] != "live" {
					t.Errorf("leaves: %v, want that of the live run", left)
				}
			}
			if len(sandbox.HasCmdline(t, other)) != 1 {
				t.Error("a live run was swept away")
			}
			live.Kill()
			if _, err := live.Pump(nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where orphans become this process's children, they are reaped, and nobody else's children are.
func TestReaper(t *testing.T) {
	runner := exec.Command(os.Args[0])
	runner.Env = append(os.Environ(), "TEST_CHILD=subreaper")
	if out, err := runner.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A cgroup that a run makes inside its own goes with it.
func TestCgroupInsideTheLeaf(t *testing.T) {
	h := newHost(t, byCgroup)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	n := sleeper()
	script := `leaf="$ROOT/$RUNNEL_MARK"; mkdir "$leaf/inner" && sh -c 'echo $$ >"$0/inner/cgroup.procs"; sleep ` + n + ` >/dev/null 2>&1 & sleep 0.05' "$leaf"; exit 5`
	status, out := run(t, h, sandbox.Spec{Argv: sh(script), Params: []string{"ROOT=" + h.Facts().Cgroup}})
	if status.ExitCode != 5 || out[1].Len() > 0 {
		t.Errorf("got %+v, %q", status, &out[1])
	}
	if left := sandbox.HasCmdline(t, n); len(left) > 0 {
		t.Errorf("left alive: %v", left)
		killAll(left)
	}
	if left := sandbox.Leaves(t, h); len(left) > 0 {
		t.Errorf("leaves left: %v", left)
	}
}
