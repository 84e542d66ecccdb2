package service_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// An id that comes back while the log of its earlier run is there, and the record
// is not, is refused before anything is started; so is that of a removed run.
func TestIDComesBack(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	js, err := jetstream.New(f.nc)
	if err != nil {
		t.Fatal(err)
	}
	started := filepath.Join(t.TempDir(), "started")
	task := func(id, argv string) string {
		return `{"kind":"runner","metadata":{"id":"` + id + `"},"spec":{"task":{"argv":[` + argv + `]}}}`
	}
	again := `"touch",` + strconv.Quote(started)
	for _, id := range []string{"expired", "deleted"} {
		if a := f.ask("runner.task.at.web1", task(id, `"echo","first"`)); a.at("code") != nil {
			t.Fatalf("%v", a.body)
		}
		f.ask("runner.query.any", `{"kind":"runner","spec":{"query":{"runs":["`+id+`"],"states":["COMPLETE"],"wait":"20s"}}}`)
	}
	bucket, err := js.Stream(t.Context(), "KV_runner_runs")
	if err == nil {
		err = bucket.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.runner_runs.expired")) // as if its time were over
	}
	var runs jetstream.KeyValue
	if err == nil {
		runs, err = js.KeyValue(t.Context(), "runner_runs")
	}
	if err == nil {
		err = runs.Delete(t.Context(), "deleted")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"expired", "deleted"} {
		if a := f.ask("runner.task.at.web1", task(id, again)); a.at("code") != 409.0 {
			t.Errorf("%s: got %v, want a conflict", id, a.body)
		}
	}
	if _, err := os.Stat(started); err == nil {
		t.Error("something was started")
	}
	// Once the log is gone, too, the id is as good as new.
	log, err := js.Stream(t.Context(), "RUNNER_LOG")
	if err == nil {
		err = log.Purge(t.Context(), jetstream.WithPurgeSubject("runner.log.*.expired"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the same request, twice: one run
		if a := f.ask("runner.task.at.web1", task("expired", again)); a.at("code") != nil || a.at("run", "id") != "expired" {
			t.Errorf("got %v, want the run", a.body)
		}
	}
	rig.Eventually(t, "it is started", func() bool { _, err := os.Stat(started); return err == nil })
}
