package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/tests/rig"
)

func glanceAt(path string, maxSize int) string {
	return fmt.Sprintf(`{"kind":"runner","spec":{"glance":{"file":{"path":%q,"maxSize":%d}}}}`, path, maxSize)
}

func abort(run string) string { return `{"kind":"runner","spec":{"abort":{"run":"` + run + `"}}}` }

func query(runs string) string {
	return `{"kind":"runner","spec":{"query":{"runs":["` + runs + `"]}}}`
}

// Every code, each with text that says why.
func TestErrorCodes(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{Policy: &policy.Policy{Users: policy.UserRules{Allowed: []string{"nobody"}, Default: "nobody"}}}, Name: "strict"})
	f.start(service.Config{Name: "web1"})
	f.refused(400, "wait", "runner.abort.any", `{"kind":"runner","spec":{"abort":{"run":"x","wait":"2"}}}`)
	f.refused(400, "run", "runner.abort.any", abort(""))
	f.refused(400, "limit", "runner.query.any", `{"kind":"runner","spec":{"query":{"all":true,"limit":-1}}}`)
	f.refused(400, "DONE", "runner.query.any", `{"kind":"runner","spec":{"query":{"all":true,"states":["DONE"]}}}`)
	f.refused(400, "next", "runner.query.any", `{"kind":"runner","spec":{"query":{"all":true,"next":"?"}}}`)
	f.refused(403, "root", "runner.task.at.strict", `{"kind":"runner","spec":{"task":{"commands":["true"],"user":"root"}}}`)
	f.refused(404, "unknown run id nope", "runner.query.any", query("nope"))
	f.refused(404, "unknown run id nope", "runner.abort.any", abort("nope"))
	f.refused(404, "unknown run id nope", "runner.abort.at.web1", abort("nope"))
	f.refused(404, "unknown run id", "runner.query.any", query(strings.Repeat("x", 1000)))
	for _, odd := range []string{"*", ">", "a.b", "a b", "../x", "ä"} {
		f.refused(404, "unknown run id", "runner.query.any", query(odd))
		f.refused(404, "unknown run id", "runner.abort.any", abort(odd))
	}
	f.over(f.ask("runner.task.at.web1", `{"kind":"runner","metadata":{"id":"x"},"spec":{"task":{"commands":["true"]}}}`).ok(t))
	f.refused(409, "x", "runner.task.at.web1", `{"kind":"runner","metadata":{"id":"x"},"spec":{"task":{"commands":["false"]}}}`)
}

// With slots and backlog full a runner says so on at, and has left the any
// groups; the same request again still finds its run.
func TestFull(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Settings: service.Settings{Slots: 1, Backlog: -1}})
	first := `{"kind":"runner","metadata":{"id":"first"},"spec":{"task":{"commands":["sleep 1000"]}}}`
	f.ask("runner.task.at.web1", first).ok(t)
	f.refused(503, "No resources available. Please try later.", "runner.task.at.web1", verbs["task"])
	f.refused(503, "No resources available. Please try later.", "runner.task.all", verbs["task"])
	f.refused(400, "invalid kind", "runner.task.at.web1", `{}`)
	f.refused(400, "pidsMax", "runner.task.at.web1", `{"kind":"runner","spec":{"task":{"argv":["true"],"limits":{"pidsMax":-1}}}}`)
	f.refused(409, "first", "runner.task.at.web1", strings.Replace(first, "1000", "1001", 1))
	if got := f.ask("runner.task.at.web1", first).ok(t).text("run", "state"); got != "RUNNING" {
		t.Errorf("the same request again: got %q", got)
	}
	rig.Eventually(f.t, "the runner has left the any group", func() bool {
		_, err := f.nc.Request("runner.task.any", []byte(`{}`), 1e9)
		return err != nil
	})
	f.ask("runner.abort.any", abort("first")).ok(t)
	f.record("first")
	rig.Eventually(f.t, "the runner is back", func() bool {
		_, err := f.nc.Request("runner.task.any", []byte(`{}`), 1e9)
		return err == nil
	})
	// By name: what came last by any had the only place for a moment, and the runner may not be back yet.
	reply := f.ask("runner.task.at.web1", `{"kind":"runner","spec":{"task":{"commands":["echo back"]}}}`).ok(t)
	if got := f.over(reply); got.stdout != "back\n" {
		t.Errorf("got %+v", got)
	}
}

// A reply above the payload limit is a 413 that says how to ask; one that just
// fits is sent, headers counted.
func TestTooLarge(t *testing.T) {
	f := newFleetWith(t, embedded.Config{MaxPayloadBytes: 64 << 10})
	f.start(service.Config{})
	path := filepath.Join(t.TempDir(), "file")
	answered := map[string]int{}
	for size := 48 << 10; size < 50<<10; size += 16 {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		a := f.ask("runner.glance.any", glanceAt(path, 1<<20), "traceparent", strings.Repeat("0", 1000))
		code := a.Header.Get("Nats-Service-Error-Code")
		answered[code]++
		if code != "" {
			if a.at("file", "error") == nil {
				a.isError(t, 413, "offset")
			}
		}
	}
	if answered[""]+answered["413"] == 0 || len(answered) > 2 {
		t.Errorf("got codes %v", answered)
	}
	// Records just about as large as may be, in pages as large as may be.
	tag := strings.Repeat("v", 256)
	for i := range 12 {
		var tags []string
		for n := range 24 {
			tags = append(tags, fmt.Sprintf(`"%d":%q`, n, tag))
		}
		f.over(f.ask("runner.task.any", fmt.Sprintf(`{"kind":"runner","metadata":{"id":"t%d"},"spec":{"task":{"commands":["true"],"tags":{%s}}}}`, i, strings.Join(tags, ","))).ok(t))
	}
	seen, next := 0, ""
	for page := 0; page == 0 || next != ""; page++ {
		reply := f.ask("runner.query.any", `{"kind":"runner","spec":{"query":{"all":true,"next":`+quote(next)+`}}}`).ok(t)
		seen += len(reply.at("runs").([]any))
		next = reply.text("next")
	}
	if seen != 12 {
		t.Errorf("the pages have %d runs", seen)
	}
}
