package run

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service/sandbox"
)

// TestMain is what isolates and limits runs, too.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	os.Exit(m.Run())
}

// Where there is no memory controller, a language is not let loose.
func TestPossibleLimits(t *testing.T) {
	host, err := sandbox.Open(sandbox.Config{NoCgroup: true, Prefix: "test-"})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	core := sandbox.Rlimit{Resource: "core"}
	got := bounds{limits: sandbox.Limits{MemoryMaxBytes: 5 << 20, PidsMax: 5, Rlimits: []sandbox.Rlimit{core}}, outputBytes: 7}.possible(host)
	want := sandbox.Limits{Rlimits: []sandbox.Rlimit{core, {Resource: "data", Max: 5 << 20}}}
	if d := cmp.Diff(want, got.limits); d != "" || got.outputBytes != 7 {
		t.Errorf("want -, got +\n%s", d)
	}
}
