package sandbox_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// The test binary is also the hostile child: TEST_CHILD names what it does.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	if act := os.Getenv("TEST_CHILD"); act != "" {
		child(act)
		return
	}
	if err := sandbox.HideDescriptors(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// The three ways in which a Linux host can hold a run.
const (
	byCgroup = "cgroup"
	byScan   = "scan"
	byGroup  = "group"
)

var allWays = []string{byCgroup, byScan, byGroup}

// newHost opens a host that nobody else in the machine shares a prefix with.
func newHost(t testing.TB, way string) *sandbox.Host {
	t.Helper()
	return newHostHiding(t, way, nil)
}

func newHostHiding(t testing.TB, way string, hide []string) *sandbox.Host {
	t.Helper()
	return openHost(t, way, sandbox.Config{Prefix: fmt.Sprintf("rt-%d-%s-", os.Getpid(), rand.Text()[:6]), Hide: hide})
}

func openHost(t testing.TB, way string, cfg sandbox.Config) *sandbox.Host {
	t.Helper()
	var log bytes.Buffer
	cfg.NoCgroup, cfg.Logger = way != byCgroup, slog.New(slog.NewTextHandler(&log, nil))
	h, err := sandbox.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if way == byGroup {
		sandbox.SetPortable(h)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if log.Len() > 0 && !t.Failed() {
			t.Errorf("the host complained:\n%s", log.String())
		} else if log.Len() > 0 {
			t.Logf("the host's log:\n%s", log.String())
		}
	})
	if facts := h.Facts(); facts.Kill != way {
		t.Skipf("this host can't hold runs by %s: %s", way, facts.NoCgroup)
	}
	return h
}

// eachWay runs a test on every kind of host.
func eachWay(t *testing.T, ways []string, test func(t *testing.T, h *sandbox.Host)) {
	t.Helper()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) { test(t, newHost(t, way)) })
	}
}

// output is what a run printed, per stream.
type output [2]bytes.Buffer

func (o *output) take(stream int, data []byte) error {
	o[stream].Write(data)
	return nil
}

func start(t testing.TB, h *sandbox.Host, spec sandbox.Spec) *sandbox.Process {
	t.Helper()
	if spec.ID == "" {
		spec.ID = rand.Text()
	}
	if spec.Env == nil {
		spec.Env = os.Environ()
	}
	p, err := h.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs to the end.
func run(t testing.TB, h *sandbox.Host, spec sandbox.Spec) (sandbox.Status, *output) {
	t.Helper()
	p := start(t, h, spec)
	var out output
	status, err := p.Pump(out.take, nil)
	if err != nil {
		t.Fatal(err)
	}
	return status, &out
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

// until waits for a condition that some other process brings about.
func until(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// resources is what must be the same before and after.
type resources struct{ descriptors, goroutines, threads int }

func used(t testing.TB) resources {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return resources{len(fds), runtime.NumGoroutine(), len(threads)}
}

func ids(n int) string { return strings.Repeat("x", n) }

func limitsOf(t testing.TB, text limits.Text) limits.Set {
	t.Helper()
	set, err := text.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return set
}
