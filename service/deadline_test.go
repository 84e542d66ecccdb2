package service_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
)

// Every verb heeds the caller's deadline: a second past it nothing is done.
func TestDeadline(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	f.over(f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"over"},"spec":{"task":{"commands":["true"]}}}`).ok(t))
	f.record("over")
	in := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.RFC3339Nano) }
	for verb, body := range verbs {
		subject := "runner." + verb + ".any"
		for _, deadline := range []string{in(time.Minute), in(24 * time.Hour), in(0), "2999-01-01T00:00:00+05:00", ""} {
			f.ask(subject, body, "Runner-Deadline", deadline).ok(t)
		}
		for _, deadline := range []string{in(-2 * time.Second), in(-5 * time.Hour), "1970-01-01T00:00:00Z"} {
			f.refused(408, "asked too late", subject, body, "Runner-Deadline", deadline)
			f.refused(408, "asked too late", subject, body, "runner-deadline", deadline)
		}
		for _, deadline := range []string{"now", "1795221213", "2026-11-26", "2026-11-26 09:00:00"} {
			f.refused(400, "Runner-Deadline", subject, body, "Runner-Deadline", deadline)
		}
	}
	path := filepath.Join(t.TempDir(), "ran")
	late := `{"kind":"runner","metadata":{"id":"late"},"spec":{"task":{"argv":["touch","` + path + `"]}}}`
	f.refused(408, "nothing was done", "runner.task.all", late, "Runner-Deadline", in(-2*time.Second))
	f.refused(404, "late", "runner.query.any", query("late"))
	if _, err := os.Stat(path); err == nil {
		t.Error("it was run")
	}
}
