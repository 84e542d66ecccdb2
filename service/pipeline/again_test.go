package pipeline_test

import (
	"testing"

	"github.com/runnel-io/runnel/service/client"
)

// Definitions that were written by an earlier engine can be changed, removed and
// put in again.
func TestDefinitionsOfAnEarlierEngine(t *testing.T) {
	const one, two = "pipelines:\n  p:\n    tasks:\n      a: {script: ['true']}\n", "pipelines:\n  p:\n    tasks:\n      a: {script: ['echo two']}\n"
	w := open(t, one)
	for i, text := range []string{two, "pipelines: {}\n", one, two} {
		w.engine.Close()
		w.engine = w.start("e2")
		if _, err := w.c.Apply(w.ctx(), text, client.ApplyOptions{Source: "test", Prune: true}); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		if !w.engine.Leads() {
			t.Fatalf("change %d: the engine lost its lease", i)
		}
	}
	if got := w.log(w.end(w.schedule("p", nil).GetId()), "a"); got != "two\n" {
		t.Errorf("log: %q", got)
	}
}
