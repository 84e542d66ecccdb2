package subjects_test

import (
	"testing"

	"github.com/runnel-io/runnel/subjects"
)

func TestParseFiredReadsWhatFiredWrote(t *testing.T) {
	space, err := subjects.New("acme.fleet")
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range []bool{false, true} {
		subject := space.Fired(all, "gpu", "nightly")
		gotAll, pool, name, ok := space.ParseFired(subject)
		if !ok || gotAll != all || pool != "gpu" || name != "nightly" {
			t.Errorf("%s: %v %q %q %v", subject, gotAll, pool, name, ok)
		}
	}
	for _, subject := range []string{
		"", "acme.fleet.schedule.fired.some.gpu.x", "acme.fleet.schedule.fired.any.gpu", "acme.fleet.schedule.fired.any.gpu.x.y",
		"other.schedule.fired.any.gpu.x", "acme.fleet.schedule.def.x",
	} {
		if _, _, _, ok := space.ParseFired(subject); ok {
			t.Errorf("%q was read as a fire", subject)
		}
	}
	if name, ok := space.ParseScheduleDef(space.ScheduleDef("nightly")); !ok || name != "nightly" {
		t.Errorf("the definition is of %q, %v", name, ok)
	}
}
