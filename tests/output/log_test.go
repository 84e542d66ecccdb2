package output

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/tests/wire"
)

// request is a task that runs one of the programs of emit_test.go.
func request(t *testing.T, id, program string, n int) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv, err := json.Marshal([]string{self, "emit", program, fmt.Sprint(n)})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"kind":"runner","metadata":{"id":%q},"spec":{"task":{"argv":%s}}}`, id, argv)
}

// following is a follower that began before its run.
type following struct {
	stdout, stderr *sum
	log            *wire.Log
	sub            *nats.Subscription
}

func follow(t *testing.T, nc *nats.Conn, id string) *following {
	t.Helper()
	sub, err := wire.Live(nc, id)
	if err != nil {
		t.Fatal(err)
	}
	f := &following{stdout: newSum(), stderr: newSum(), sub: sub}
	f.log = &wire.Log{Stdout: f.stdout, Stderr: f.stderr}
	return f
}

func ask(t *testing.T, nc *nats.Conn, request []byte) {
	t.Helper()
	reply, err := nc.Request("runner.task.any", request, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Header.Get("Nats-Service-Error") != "" {
		t.Fatalf("refused: %s", reply.Data)
	}
}

// check compares both streams with what the program prints.
func check(t *testing.T, what string, stdout, stderr *sum, program string, n int) {
	t.Helper()
	wantOut, wantErr := emitted(t, program, n)
	if got, want := stdout.String(), wantOut.String(); got != want {
		t.Errorf("%s: stdout is %s, want %s", what, got, want)
	}
	if got, want := stderr.String(), wantErr.String(); got != want {
		t.Errorf("%s: stderr is %s, want %s", what, got, want)
	}
}

// replayed reads a finished log again and compares it.
func replayed(t *testing.T, nc *nats.Conn, id, program string, n int) *wire.Log {
	t.Helper()
	stdout, stderr := newSum(), newSum()
	log := &wire.Log{Stdout: stdout, Stderr: stderr}
	if err := log.Replay(nc, "runner.log.web1."+id, 30*time.Second); err != nil {
		t.Fatalf("replay: %v", err)
	}
	check(t, "replay", stdout, stderr, program, n)
	if log.End.State != "COMPLETE" || log.End.ExitCode != 0 || log.Gaps != 0 {
		t.Errorf("replay: %+v, %d gaps", log.End.End, log.Gaps)
	}
	return log
}

// recordIsFinal waits for the record and compares it with EOF.
func recordIsFinal(t *testing.T, nc *nats.Conn, id string, end *wire.Record) {
	t.Helper()
	query := fmt.Sprintf(`{"kind":"runner","spec":{"query":{"runs":[%q],"states":["COMPLETE","FAILED","ABORTED","TIMEDOUT"],"wait":"20s"}}}`, id)
	reply, err := nc.Request("runner.query.any", []byte(query), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Runs []struct {
			State, SHA256, Error string
			Lines, Bytes         int64
			LogComplete          bool
		}
	}
	if err := json.Unmarshal(reply.Data, &body); err != nil || len(body.Runs) != 1 {
		t.Fatalf("got %s", reply.Data)
	}
	if r := body.Runs[0]; r.State != end.State || r.SHA256 != end.SHA256 || r.Lines != end.Lines || r.Bytes != end.Bytes || !r.LogComplete {
		t.Errorf("the record is %+v, EOF %+v", r, end.End)
	}
}

// The log is right: equal byte for byte on each stream, live and on replay, and
// the runner's memory stays within 64 MiB of what it was.
func TestLogIsRight(t *testing.T) {
	h := newHost(t)
	ask(t, h.nc, request(t, "warm", "alternate", 10))
	replayed(t, h.nc, "warm", "alternate", 10)
	for _, c := range []struct {
		program string
		n       int
	}{{"alternate", 4000}, {"random", 2 << 10}, {"lines", 1_000_000}, {"line", 100}} {
		t.Run(c.program, func(t *testing.T) {
			if testing.Short() && c.n > 10_000 {
				t.Skip("much output")
			}
			if raceDetector {
				c.n = max(c.n/10, 10) // it is slow, and a race shows in less
			}
			idle := h.memory(t, "VmRSS")
			h.resetPeak(t)
			live := follow(t, h.nc, c.program)
			began := time.Now()
			ask(t, h.nc, request(t, c.program, c.program, c.n))
			if err := live.log.Follow(live.sub, 60*time.Second); err != nil {
				t.Fatalf("live: %v", err)
			}
			took := time.Since(began)
			check(t, "live", live.stdout, live.stderr, c.program, c.n)
			peak := h.memory(t, "VmHWM")
			t.Logf("%d messages, %s, memory from %d to %d MiB", live.log.Messages, took.Round(time.Millisecond), idle>>20, peak>>20)
			if !raceDetector && peak-idle > 64<<20 {
				t.Errorf("the runner's memory grew by %d MiB", (peak-idle)>>20)
			}
			again := replayed(t, h.nc, c.program, c.program, c.n)
			if again.End.SHA256 != live.log.End.SHA256 {
				t.Error("live and replay differ")
			}
			recordIsFinal(t, h.nc, c.program, again.End)
		})
	}
}

// memory is a number of /proc/PID/status, in bytes; 0 where there is none.
func (h *host) memory(t *testing.T, field string) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", h.runner.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var kib int64
		if rest, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// resetPeak makes VmHWM begin again.
func (h *host) resetPeak(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", h.runner.Process.Pid), []byte("5"), 0); err != nil {
		t.Logf("the peak includes the cases before: %v", err)
	}
}
