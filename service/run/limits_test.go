package run

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/service/limits"
	"github.com/runnel-io/runnel/service/sandbox"
)

// TestMain is what isolates and limits runs, too.
func TestMain(m *testing.M) {
	sandbox.ShimMain()
	os.Exit(m.Run())
}

// What a language has by default, and the host can't hold a run to, is left out.
func TestPossibleLimits(t *testing.T) {
	host, err := sandbox.Open(sandbox.Config{NoCgroup: true, Prefix: "test-"})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	set, err := limits.Text{limits.PidsMax: "5", limits.Core: "0", limits.OutputBytes: "7"}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	got := boundsIn(set).possible(host)
	want := limits.Text{limits.Core: "0", limits.OutputBytes: "7"}
	if d := cmp.Diff(want, got.limits.Text()); d != "" || got.outputBytes != 7 {
		t.Errorf("want -, got +\n%s", d)
	}
}
