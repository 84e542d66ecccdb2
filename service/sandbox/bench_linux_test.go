package sandbox_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/service/sandbox"
)

// BenchmarkTrue runs /bin/true to its end, each time beside os/exec with two pipes, which is the floor; turn about, so that a busy machine is busy for both. It reports
// the medians and their ratio, for which the budget is 1.1 where there are cgroups.
func BenchmarkTrue(b *testing.B) {
	for _, way := range allWays {
		b.Run(way, func(b *testing.B) {
			h := newHost(b, way)
			env, n := os.Environ(), 0
			compare(b, func() {
				var out, errs bytes.Buffer
				cmd := exec.Command("/bin/true")
				cmd.Stdout, cmd.Stderr = &out, &errs
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}, func() {
				n++
				p, err := h.Start(sandbox.Spec{ID: fmt.Sprint(n), Argv: []string{"/bin/true"}, Env: env})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Pump(nil, nil); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// compare times both, in turn.
func compare(b *testing.B, floor, ours func()) {
	b.Helper()
	var floors, times []time.Duration
	for b.Loop() {
		began := time.Now()
		floor()
		middle := time.Now()
		ours()
		floors, times = append(floors, middle.Sub(began)), append(times, time.Since(middle))
	}
	slices.Sort(floors)
	slices.Sort(times)
	floorMedian, median := floors[len(floors)/2], times[len(times)/2]
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(float64(floorMedian.Microseconds()), "floor-µs")
	b.ReportMetric(float64(median.Microseconds()), "ours-µs")
	b.ReportMetric(float64(median)/float64(floorMedian), "ratio")
}

func BenchmarkTrueEight(b *testing.B) {
	h := newHost(b, byCgroup)
	env := os.Environ()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			run(b, h, sandbox.Spec{Argv: []string{"/bin/true"}, Env: env})
		}
	})
}

func BenchmarkFlood(b *testing.B) {
	h := newHost(b, byCgroup)
	b.SetBytes(64 << 20)
	for b.Loop() {
		p := start(b, h, sandbox.Spec{Argv: []string{"head", "-c", fmt.Sprint(64 << 20), "/dev/zero"}})
		if _, err := p.Pump(nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIsolated compares an isolated run of /bin/true with the same namespaces made by a bare clone and exec. The budgets are 1.5 for standard and 2.5 for strict.
func BenchmarkIsolated(b *testing.B) {
	shim := filepath.Join(b.TempDir(), "runnel-shim")
	build := exec.Command("go", "build", "-o", shim, "github.com/runnel-io/runnel/cmd/runnel-shim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	flags := map[sandbox.Isolation]uintptr{sandbox.Standard: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	flags[sandbox.Strict] = flags[sandbox.Standard] | unix.CLONE_NEWNET
	for _, level := range levels {
		b.Run(level.String(), func(b *testing.B) {
			h, err := sandbox.Open(sandbox.Config{Prefix: fmt.Sprintf("rt-bench-%d-", os.Getpid()), Shim: shim})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			n := 0
			compare(b, func() {
				var out, errs bytes.Buffer
				cmd := exec.Command("/bin/true")
				cmd.Stdout, cmd.Stderr = &out, &errs
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags[level]}
				if os.Geteuid() != 0 {
					cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
				}
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}, func() {
				n++
				p, err := h.Start(sandbox.Spec{ID: fmt.Sprint(n), Argv: []string{"/bin/true"}, Isolation: level})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Pump(nil, nil); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
