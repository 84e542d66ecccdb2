package commands

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The floor that bench shows is that of a machine which does nothing else: within
// 5 % of what os/exec takes alone, before and after.
func TestFloorIsUndisturbed(t *testing.T) {
	if os.Getenv("RUNNEL_LONG") == "" {
		t.Skip("wants a quiet machine: tests/prove floor")
	}
	newHome(t)
	alone := func() (times []float64) {
		for i := range 500 {
			if i%20 == 0 {
				time.Sleep(100 * time.Millisecond) // blocks, as bench has them
				_ = exec.Command("true").Run()     // the first of a block is slower
			}
			began := time.Now()
			if err := exec.Command("true").Run(); err != nil {
				t.Fatal(err)
			}
			times = append(times, float64(time.Since(began))/float64(time.Millisecond))
		}
		return times
	}
	times := alone()
	out, err := command(t, "bench", "--only", "start", "--json").Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	times = append(times, alone()...)
	slices.Sort(times)
	want := times[len(times)/2]
	var row struct{ Floor float64 }
	first, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(first), &row); err != nil {
		t.Fatalf("%v: %s", err, first)
	}
	t.Logf("the floor: %.3f ms, alone: %.3f ms", row.Floor, want)
	if math.Abs(row.Floor-want) > 0.05*want {
		t.Errorf("the floor is %.3f ms, os/exec alone takes %.3f ms", row.Floor, want)
	}
}

// The measurement itself, small: every row has what is asked of it.
func TestBenchQuickly(t *testing.T) {
	newHome(t)
	cmd := command(t, "bench", "--quick", "--only", "start,rate,first,fanout,records", "--simulate", "3", "--json")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, errOut.String())
	}
	got := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		var r struct {
			Name  string
			Value float64
			Floor float64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Value <= 0 {
			t.Errorf("%s: %v", line, err)
		}
		got[r.Name] = true
	}
	for _, want := range []string{
		"start to finish of true, p50", "the same by a bare exec over NATS, which stores nothing, p50", "runs a second, 16 in flight",
		"the same by a bare exec over NATS", "first line of a fresh run, p50", "3 runners tell of their systems, p50", "query of a run by id, p50",
	} {
		if !got[want] {
			t.Errorf("there is no row %q", want)
		}
	}
}
