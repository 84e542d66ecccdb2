package gateway_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

const handled = `
pipelines:
  handled:
    continue_running_tasks_after_failure: true
    tasks:
      a: {script: [exit 3]}
      b: {script: ['true']}
      c: {script: ['true'], depends_on: [a, b]}
    on_error: {script: [echo handled]}
`

// picture is what the page draws.
type picture struct {
	Width, Height int
	Nodes         []struct {
		Name    string
		X, Y    int
		Longest bool
	}
	Edges []struct{ From, To, Path string }
	Error string
}

func (p picture) edges() (all []string) {
	for _, e := range p.Edges {
		all = append(all, e.From+" > "+e.To)
	}
	slices.Sort(all)
	return all
}

func (w *world) picture(path string, want int) picture {
	w.t.Helper()
	var p picture
	if code := w.send("GET", path, "", &p); code != want {
		w.t.Fatalf("%s: %d %s, want %d", path, code, p.Error, want)
	}
	return p
}

// The graph of a pipeline is that of its definition, that of a job has its tasks:
// the handler stands behind what it was run for.
func TestGraphs(t *testing.T) {
	w := open(t)
	if _, err := w.fleet.Client().Apply(rig.Within(t, time.Minute), handled, client.ApplyOptions{Source: "graphs"}); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the gateway knows the pipeline", func() bool { return w.send("GET", "/api/v1/pipelines/handled", "", &picture{}) == http.StatusOK })
	p := w.picture("/api/v1/pipelines/handled/graph", http.StatusOK)
	if got := p.edges(); len(p.Nodes) != 3 || !slices.Equal(got, []string{"a > c", "b > c"}) || p.Width == 0 || p.Height == 0 {
		t.Errorf("the pipeline: %+v", p)
	}
	var job struct{ ID string }
	if code := w.send("POST", "/api/v1/pipelines/handled/jobs", "", &job); code != http.StatusAccepted {
		t.Fatalf("schedule: %d", code)
	}
	w.ended(job.ID)
	p = w.picture("/api/v1/jobs/"+job.ID+"/graph", http.StatusOK)
	if got := p.edges(); len(p.Nodes) != 4 || !slices.Equal(got, []string{"a > c", "a > on_error", "b > c"}) {
		t.Errorf("the job: %d boxes, %q", len(p.Nodes), got)
	}
	w.picture("/api/v1/pipelines/nosuch/graph", http.StatusNotFound)
	w.picture("/api/v1/jobs/00000000-0000-4000-8000-000000000000/graph", http.StatusNotFound)
	if code := w.send("GET", "/api/v1/pipelines/handled/graph", "", &p, auth.ScopeCode); code != http.StatusForbidden {
		t.Errorf("without scope read: %d", code)
	}
}
