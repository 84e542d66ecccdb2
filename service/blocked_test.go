package service_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// With the server gone and the spool full, a timeout still ends what runs, and a
// stop the runner.
func TestEndOfWhatIsBlockedOnOutput(t *testing.T) {
	f := newFleet(t)
	s := f.start(service.Config{SpoolMaxBytes: 64 << 10})
	c := f.two()
	timesOut, flood := mark(), mark()
	c[0].start("any", "timesOut", commands(fmt.Sprintf("yes %s", timesOut), `"timeout":"1s"`, `"grace":"100ms"`))
	c[1].start("any", "flood", commands(fmt.Sprintf("trap '' TERM; yes %s; sleep 1000", flood), `"grace":"59s"`))
	rig.Eventually(t, "both print", func() bool { return len(processesWith(t, timesOut)) > 0 && len(processesWith(t, flood)) > 0 })
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the timeout ends it", func() bool { return len(processesWith(t, timesOut)) == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	s.Drain(ctx)
	drained := time.Since(began)
	s.Close()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	} else {
		t.Logf("the stop took %s, the drain %s", took, drained)
	}
	if left := processesWith(t, flood); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// bombOf is a gzip script of this many bytes, most of which are one.
func bombOf(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte("#!/bin/bash\nexit 0\n")); err != nil {
		t.Fatal(err)
	}
	zeroes := bytes.Repeat([]byte{'#'}, 1<<20)
	for range size >> 20 {
		if _, err := z.Write(zeroes); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// residentKiB is this process's memory.
func residentKiB(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib
		}
	}
	return 0
}

// Scripts that unpack to a thousand times their size need no memory for that,
// and others are served meanwhile.
func TestBombsAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks gigabytes")
	}
	f := newFleet(t)
	f.start(service.Config{})
	c := f.two()
	many, rounds, bound := 12, 50, 40*250*time.Millisecond
	if os.Getenv("RUNNEL_LONG") != "" { // tests/prove: at full size, on a quiet machine
		many, rounds, bound = 64, 200, 250*time.Millisecond
	}
	for name, task := range map[string]string{
		"script":   fileTask(bombOf(t, bombSize()), true),
		"language": strings.Replace(fileTask(bombOf(t, bombSize()), true), "{", `{"language":{"name":"bash"},"isolation":"none",`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			idle, most := residentKiB(t), int64(0)
			var asking sync.WaitGroup
			for i := range many {
				asking.Go(func() { c[i%2].task("at.web1", fmt.Sprint(name, i), task) }) // its answer may be late
			}
			var took []time.Duration
			for range rounds {
				began := time.Now()
				if got := f.run(`{"argv":["true"]}`); got.end.State != "COMPLETE" {
					t.Fatalf("another run: %+v", got.end)
				}
				took = append(took, time.Since(began))
				most = max(most, residentKiB(t))
			}
			asking.Wait()
			slices.Sort(took)
			p99 := took[len(took)*99/100]
			t.Logf("%d bombs: %d KiB more at most; others: median %s, p99 %s, longest %s", many, most-idle, took[len(took)/2], p99, took[len(took)-1])
			if grown := most - idle; grown > 100<<10 {
				t.Errorf("%d KiB more", grown)
			}
			if p99 > bound {
				t.Errorf("other runs took %s (p99), want %s at most", p99, bound)
			}
		})
	}
}

// bombSize is what a bomb unpacks to: the detector of races makes unpacking slow.
func bombSize() int {
	if raceDetector {
		return 4 << 20
	}
	return 60 << 20
}
