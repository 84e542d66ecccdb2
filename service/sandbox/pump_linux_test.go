package sandbox_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/sandbox"
)

func afterTries() <-chan time.Time { return time.After(20 * time.Millisecond) }

func TestFloodComesBackExactly(t *testing.T) {
	const size = 40 << 20
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		sumFile := filepath.Join(t.TempDir(), "sum")
		script := sh(fmt.Sprintf(`head -c %d /dev/urandom | tee /dev/stderr | sha256sum >"$SUM"; echo end`, size))
		p := start(t, h, sandbox.Spec{Argv: script, Params: []string{"SUM=" + sumFile}})
		hash, bytes := sha256.New(), 0
		status, err := p.Pump(func(stream int, data []byte) error {
			if stream == 1 {
				bytes += len(data)
				hash.Write(data)
			}
			return nil
		}, nil)
		if err != nil || status.ExitCode != 0 {
			t.Fatal(status, err)
		}
		want, err := os.ReadFile(sumFile)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(hash.Sum(nil)); bytes != size || !strings.HasPrefix(string(want), got) {
			t.Errorf("got %d bytes with hash %s, want %d with %s", bytes, got, size, want)
		}
	})
}

// quiet comes once after something was read, not before and not again, unless it asks for that.
func TestQuiet(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		p := start(t, h, sandbox.Spec{Argv: sh("sleep 0.3; printf 'a> '; sleep 0.7; printf 'b> '; sleep 0.5")})
		var events []string
		_, err := p.Pump(
			func(_ int, data []byte) error { events = append(events, string(data)); return nil },
			func(idle bool) bool { events = append(events, fmt.Sprint("quiet ", idle)); return false })
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(events, " "), "a>  quiet true b>  quiet true"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// An error of the reader ends the run.
func TestReaderFails(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		p := start(t, h, sandbox.Spec{Argv: []string{"yes"}})
		full := errors.New("full")
		calls := 0
		status, err := p.Pump(func(int, []byte) error { calls++; return full }, nil)
		if err != full || status.SignalName() != "SIGKILL" || calls != 1 {
			t.Errorf("got %v, %s after %d calls, want full, SIGKILL after 1", err, status.SignalName(), calls)
		}
	})
}

// A run that closes its output goes on.
func TestOutputClosedEarly(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		status, out := run(t, h, sandbox.Spec{Argv: sh("echo a; exec >&- 2>&-; sleep 0.2; exit 3")})
		if status.ExitCode != 3 || out[0].String() != "a\n" {
			t.Errorf("got %d %q", status.ExitCode, &out[0])
		}
	})
}

func TestUsage(t *testing.T) {
	eachWay(t, allWays, func(t *testing.T, h *sandbox.Host) {
		status, _ := run(t, h, sandbox.Spec{Argv: sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")})
		if status.CPUUser <= 10*time.Millisecond || status.CPUUser > time.Minute {
			t.Errorf("a busy loop took %v", status.CPUUser)
		}
		const size = 300 << 20
		status, _ = run(t, h, sandbox.Spec{Argv: []string{os.Args[0]}, Params: []string{"TEST_CHILD=memory"}})
		if status.PeakMemoryBytes < size || status.PeakMemoryBytes > 3*size { // the race detector doubles it
			t.Errorf("300 MiB were touched, the status says %d bytes", status.PeakMemoryBytes)
		}
	})
}

// Five hundred at once cost a goroutine each and no thread, and leave nothing.
func TestManyAtOnce(t *testing.T) {
	for _, way := range []string{byCgroup, byScan} {
		t.Run(way, func(t *testing.T) {
			h := newHost(t, way)
			const n = 500
			run(t, h, sandbox.Spec{Argv: []string{"true"}})
			before := used(t)
			var pumps sync.WaitGroup
			processes := make([]*sandbox.Process, n)
			for i := range processes {
				processes[i] = start(t, h, sandbox.Spec{ID: fmt.Sprint(i), Argv: []string{"sleep", "1000"}})
				pumps.Go(func() {
					status, err := processes[i].Pump(nil, nil)
					if err != nil || status.SignalName() != "SIGTERM" {
						t.Errorf("run %d: %v, %v", i, status, err)
					}
				})
			}
			during := used(t)
			if more := during.goroutines - before.goroutines; more > n+5 {
				t.Errorf("%d goroutines for %d runs", more, n)
			}
			if more := during.threads - before.threads; more > n/4 { // of those that start so many at once
				t.Errorf("%d threads more for %d runs", more, n)
			}
			for _, p := range processes {
				p.Terminate(5 * time.Minute) // a busy machine takes its time to end so many
			}
			pumps.Wait()
			if left := sandbox.Leaves(t, h); len(left) > 0 {
				t.Errorf("leaves left: %v", left)
			}
			until(t, "goroutines and descriptors to end", slack(time.Second), func() bool {
				after := used(t)
				return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors
			})
			// The end of all at once makes the Go runtime start some threads, which it
			// keeps; a run that held on to one would leave hundreds.
			if after := used(t); after.threads > before.threads+n/4 {
				t.Errorf("before %+v, after %+v", before, after)
			}
		})
	}
}
