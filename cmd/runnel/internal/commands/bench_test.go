package commands

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

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
