package runs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// twoRunners is a fleet of two on a server of its own.
func twoRunners(t *testing.T) apptest.Room {
	t.Helper()
	server := rig.Start(t, natsserver.Options{})
	for _, cfg := range []service.Config{
		{Name: "db1", Pools: []string{"db"}, Settings: service.Settings{Labels: map[string]string{"env": "test"}}},
		{Name: "web1", Pools: []string{"web"}, Settings: service.Settings{Labels: map[string]string{"env": "prod"}}},
	} {
		fleet.Runner(t, rig.Dial(t, server.ClientURL()), cfg)
	}
	return room.At(server.ClientURL())
}

// expect runs a command line and compares all that it leaves.
func expect(t *testing.T, r apptest.Room, want apptest.Result, args ...string) {
	t.Helper()
	if got := r.Run(t, args...); got != want {
		t.Errorf("%q\n got %d %q %q\nwant %d %q %q", args, got.Code, got.Out, got.Err, want.Code, want.Out, want.Err)
	}
}

// A run's life, seen through every command that is about it.
func TestRuns(t *testing.T) {
	t.Parallel()
	r := twoRunners(t)
	t.Run("one", func(t *testing.T) { oneRun(t, r) })
	t.Run("ends", func(t *testing.T) { endsOfRuns(t, r) })
	t.Run("all", func(t *testing.T) { allRunners(t, r) })
	t.Run("lists", func(t *testing.T) { listsOfRuns(t, r) })
	t.Run("logs", func(t *testing.T) { logsOfRuns(t, r) })
	t.Run("abort", func(t *testing.T) { abortedRuns(t, r) })
	t.Run("remove", func(t *testing.T) { removedRuns(t, r) })
}

func oneRun(t *testing.T, r apptest.Room) {
	expect(t, r, apptest.Result{Out: "hello\n", Err: "problem\n"}, "run", "--on", "web1", "-c", "echo hello; echo problem >&2")
	expect(t, r, apptest.Result{Out: "a b|c\n"}, "run", "--pool", "db", "--", "echo", "a b|c")
	expect(t, r, apptest.Result{Out: "two words\n"}, "run", "-p", "A=two words", "-p", "B=$A", "-c", `echo "$B"`)
	expect(t, r, apptest.Result{Out: "no end"}, "run", "--raw", "--", "printf", "no end")
	in := r
	in.Input = "typed"
	expect(t, in, apptest.Result{Out: "typed"}, "run", "--raw", "--stdin", "-", "--", "cat")
	in.Input = "#!/bin/bash\necho from a script $1\n"
	expect(t, in, apptest.Result{Out: "from a script\n"}, "run", "-f", "-")

	got := r.Run(t, "run", "--json", "--id", "j1", "-c", "echo x")
	lines := strings.Split(strings.TrimSpace(got.Out), "\n")
	var first struct{ Run json.RawMessage }
	run := new(pb.Run)
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || pb.UnmarshalJSON(first.Run, run) != nil || run.GetId() != "j1" {
		t.Errorf("got %s, %v, want the run first", lines[0], err)
	}
	for _, line := range lines[1:] {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a record: %s", line)
		}
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, `"COMPLETE"`) {
		t.Errorf("the last record is %s, want the end", last)
	}
	// The same id is the same run: it is shown, and does not run twice.
	expect(t, r, apptest.Result{Out: "once\n"}, "run", "--id", "once", "-c", "echo once")
	expect(t, r, apptest.Result{Out: "once\n"}, "run", "--id", "once", "-c", "echo once")
	other := r.Run(t, "run", "--id", "once", "-c", "echo twice")
	if other.Code != 125 || other.Out != "" {
		t.Errorf("another request of that id: got %d, %q, %q", other.Code, other.Out, other.Err)
	}
}

func endsOfRuns(t *testing.T, r apptest.Room) {
	expect(t, r, apptest.Result{Code: 3}, "run", "-c", "exit 3")
	expect(t, r, apptest.Result{Code: 143, Err: "runnel: killed by SIGTERM on web1\n"}, "run", "--on", "web1", "-c", "kill -TERM $$")
	expect(t, r, apptest.Result{Code: 124, Err: "runnel: timed out after 100ms on web1\n"}, "run", "--on", "web1", "--timeout", "100ms", "--", "sleep", "600")
	missing := r.Run(t, "run", "--on", "web1", "--", "/no/such/program")
	if missing.Code == 0 || missing.Out != "" || strings.Count(missing.Err, "\n") != 1 || !strings.Contains(missing.Err, "/no/such/program") {
		t.Errorf("got %d, %q, %q", missing.Code, missing.Out, missing.Err)
	}
	r.Refuses(t, map[string]string{
		"run --on web9 -- true":     "runner web9 is not online, and no runner of that name is known",
		"run --pool nosuch -- true": "no online runner in pool nosuch (runnel ls)",
	})
}

func allRunners(t *testing.T, r apptest.Room) {
	expect(t, r, apptest.Result{Out: "db1   here\nweb1  here\n", Err: "runnel: 2 runners: 2 ok\n"}, "run", "--all", "--batch", "1", "-c", "echo here")
	expect(t, r, apptest.Result{Out: "web1  here\n", Err: "runnel: 2 runners: 1 ok, 1 skipped (db1)\n"}, "run", "--all", "--where", `labels.env=="prod"`, "-c", "echo here")
	expect(t, r, apptest.Result{Code: 1, Err: "runnel: 2 runners: 0 ok, 2 failed (db1, web1: exit 4)\n"}, "run", "--all", "-c", "exit 4")
	none := r.Run(t, "run", "--all", "--where", "cpus > 9999", "--", "true")
	if none.Code != 125 || none.Err != "runnel: no online runner matches\n" {
		t.Errorf("got %d, %q", none.Code, none.Err)
	}
	expect(t, r, apptest.Result{Code: 125, Err: "runnel: no online runner in pool nosuch (runnel ls)\n"}, "run", "--all", "--pool", "nosuch", "--", "true")

	ids := r.Run(t, "run", "--all", "-d", "--id", "g1", "--", "true")
	got := strings.Fields(ids.Out)
	slices.Sort(got)
	if !slices.Equal(got, []string{"g1-db1", "g1-web1"}) {
		t.Errorf("got %q, %q, want an id for each", ids.Out, ids.Err)
	}
	records := r.Run(t, "run", "--all", "--json", "-c", "exit 0")
	lines := strings.Split(strings.TrimSpace(records.Out), "\n")
	if last := lines[len(lines)-1]; last != `{"summary":{"failed":[],"missing":[],"ok":["db1","web1"],"skipped":[],"unexpected":[]}}` {
		t.Errorf("got %s last, want the summary", last)
	}
}

func listsOfRuns(t *testing.T, r apptest.Room) {
	expect(t, r, apptest.Result{Out: "l1\n"}, "run", "-d", "--on", "web1", "--id", "l1", "--name", "first\nof two", "--tag", "team=blue", "-c", "exit 5")
	expect(t, r, apptest.Result{Out: "l1 COMPLETE, exit 5\n", Code: 5}, "wait", "l1")
	expect(t, r, apptest.Result{Out: "l2\n"}, "run", "-d", "--on", "db1", "--id", "l2", "--tag", "team=blue", "--", "true")
	expect(t, r, apptest.Result{Out: "l2 COMPLETE, exit 0\nl1 COMPLETE, exit 5\n", Code: 5}, "wait", "l2", "l1")

	blue := r.Run(t, "ps", "--tag", "team=blue").Out
	if !regexp.MustCompile(`^RUN  STATE     RUNNER  STARTED +FOR +LINES  NAME\nl2   COMPLETE  db1 +\S+ ago +\S+ +0  true +exit 0\nl1   COMPLETE  web1 +\S+ ago +\S+ +0  first of two +exit 5\n$`).MatchString(blue) {
		t.Errorf("got\n%s", blue)
	}
	if got := r.Run(t, "ps", "--tag", "team=blue", "--limit", "1").Out; strings.Count(got, "\n") != 2 || !strings.Contains(got, "l2 ") {
		t.Errorf("the newest: got\n%s", got)
	}
	if got := r.Run(t, "ps", "--tag", "team=blue", "--state", "running,pending").Out; strings.Count(got, "\n") != 1 {
		t.Errorf("none that runs: got\n%s", got)
	}
	var ids []string
	for line := range strings.Lines(r.Run(t, "ps", "--tag", "team=blue", "--json").Out) {
		run := new(pb.Run)
		if err := pb.UnmarshalJSON([]byte(line), run); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		ids = append(ids, run.GetId())
	}
	if !slices.Equal(ids, []string{"l2", "l1"}) {
		t.Errorf("got %q", ids)
	}
	shown := r.Run(t, "show", "l1").Out
	for _, want := range []string{"run        l1\n", "name       first of two\n", "runner     web1\n", "state      COMPLETE, exit 5\n", "tags       team=blue\n", "output     0 lines, 0 B\n", "log        RUNNER_LOG runner.log.web1.l1\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("got\n%s\nwant %q in it", shown, want)
		}
	}
	run := new(pb.Run)
	if err := pb.UnmarshalJSON([]byte(r.Run(t, "show", "l1", "--json").Out), run); err != nil || run.GetExitCode() != 5 {
		t.Errorf("got %v, %v", run, err)
	}
	r.Refuses(t, map[string]string{
		"ps --state busy":        `there is no state "busy": it is one of PENDING, RUNNING, COMPLETE, FAILED, ABORTED, TIMEDOUT`,
		"ps --limit -1":          "cannot use --limit: it must not be negative",
		"wait --for soon l1":     `there is no state "soon": it is one of PENDING, RUNNING, COMPLETE, FAILED, ABORTED, TIMEDOUT`,
		"wait nosuch":            "cannot wait for run nosuch: unknown run id nosuch",
		"show nosuch":            "unknown run id nosuch",
		"logs l1 --attempt 1":    "cannot use --attempt: run l1 did not come from the queue",
		"code run /nosuch/x.tcl": "cannot read /nosuch/x.tcl: no such file or directory",
	})
	if got := r.Complete(t, "show", "l"); !slices.Equal(got, []string{"l2", "l1"}) {
		t.Errorf("offered %q, want the newest first", got)
	}
	if got := r.Complete(t, "ps", "--tag", "team"); !slices.Equal(got, []string{"team=blue"}) {
		t.Errorf("offered %q", got)
	}
	if got := r.Complete(t, "wait", "--for", "R"); !slices.Contains(got, "RUNNING") {
		t.Errorf("offered %q", got)
	}
}

func logsOfRuns(t *testing.T, r apptest.Room) {
	expect(t, r, apptest.Result{Out: "1\n2\n3\n"}, "run", "--on", "web1", "--id", "o1", "-c", "echo 1; echo 2; echo 3")
	expect(t, r, apptest.Result{Out: "good\n", Err: "bad\n"}, "run", "--on", "web1", "--id", "o2", "-c", "echo good; echo bad >&2")
	whole := r.Run(t, "logs", "o1")
	if whole.Out != "1\n2\n3\n" || !strings.HasPrefix(whole.Err, "runnel: COMPLETE, exit 0, 3 lines, 6 B") || whole.Code != 0 {
		t.Errorf("got %+v", whole)
	}
	for line, want := range map[string]apptest.Result{
		"logs o1 --raw": {Out: "1\n2\n3\n"}, "logs o1 --raw --from 2": {Out: "2\n3\n"}, "logs o1 --raw --tail 1": {Out: "3\n"}, "logs o1 -o -": {Out: "1\n2\n3\n"},
		"logs o2 --raw": {Out: "good\n", Err: "bad\n"}, "logs o2 --raw --stream stdout": {Out: "good\n"}, "logs o2 --raw --stream stderr": {Err: "bad\n"},
	} {
		got := r.Run(t, strings.Fields(line)...)
		if strings.HasSuffix(line, "-o -") {
			got.Err = "" // it tells of the end
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", line, got, want)
		}
	}
	path := filepath.Join(t.TempDir(), "log")
	if got := r.Run(t, "logs", "o1", "-o", path); got.Code != 0 || got.Out != "" {
		t.Errorf("got %+v", got)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "1\n2\n3\n" {
		t.Errorf("got %q, %v", text, err)
	}
	unwritable := filepath.Join(path, "x")
	if got := r.Run(t, "logs", "o1", "-o", unwritable); got.Code != 125 || got.Err != "runnel: cannot write to "+unwritable+": not a directory\n" {
		t.Errorf("got %+v", got)
	}
	records := r.Run(t, "logs", "o1", "--json")
	if n := strings.Count(records.Out, "\n"); n < 3 {
		t.Errorf("got %d records: %s", n, records.Out)
	}
	for line := range strings.Lines(records.Out) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func abortedRuns(t *testing.T, r apptest.Room) {
	for _, id := range []string{"a1", "a2", "a3"} {
		expect(t, r, apptest.Result{Out: id + "\n"}, "run", "-d", "--on", "web1", "--id", id, "--grace", "100ms", "--tag", "kind="+id[:1], "--", "sleep", "600")
	}
	expect(t, r, apptest.Result{Out: "a1 RUNNING\n"}, "wait", "--for", "running", "a1")
	late := r.Run(t, "wait", "--at-most", "50ms", "a1")
	if late.Code != 125 || !strings.HasPrefix(late.Err, "runnel: cannot wait for run a1: ") {
		t.Errorf("got %+v", late)
	}
	if got := r.Complete(t, "abort", "a"); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a1", "a2", "a3"}) {
		t.Errorf("offered %q, want what runs", got)
	}
	r.Refuses(t, map[string]string{"rm a1": "cannot remove run a1: still live: it is RUNNING", "abort nosuch": "unknown run id nosuch"})
	if got := r.Run(t, "abort", "a1"); got.Code != 0 || got.Out != "a1 ABORTED\n" {
		t.Errorf("got %+v", got)
	}
	got := r.Run(t, "abort", "--tag", "kind=a")
	ended := strings.Split(strings.TrimSpace(got.Out), "\n")
	slices.Sort(ended)
	if got.Code != 0 || !slices.Equal(ended, []string{"a2 ABORTED", "a3 ABORTED"}) {
		t.Errorf("got %+v", got)
	}
	expect(t, r, apptest.Result{Err: "runnel: no live run has these tags\n"}, "abort", "--tag", "kind=a")
	expect(t, r, apptest.Result{Out: "a1 ABORTED\n", Code: 130}, "wait", "a1")
}

func removedRuns(t *testing.T, r apptest.Room) {
	for _, id := range []string{"x1", "x10", "x2"} {
		expect(t, r, apptest.Result{Out: id + "\n"}, "run", "-d", "--on", "web1", "--id", id, "--", "true")
		expect(t, r, apptest.Result{Out: id + " COMPLETE, exit 0\n"}, "wait", id)
	}
	expect(t, r, apptest.Result{Out: "x1\nx2\n", Err: "runnel: 2 runs removed\n"}, "rm", "x1", "x2")
	// x1 is the beginning of x10, and not a short form of it.
	r.Refuses(t, map[string]string{"rm x1": "cannot remove run x1: unknown run id x1; there is x10, and a name of your own must be whole here"})
	all := r.Run(t, "rm", "--older", "0s")
	if all.Code != 0 || !strings.Contains(all.Out, "x10\n") || !regexp.MustCompile(`^runnel: \d+ runs? removed\n$`).MatchString(all.Err) {
		t.Errorf("got %+v", all)
	}
	if got := r.Run(t, "ps", "--limit", "0").Out; strings.Count(got, "\n") != 1 {
		t.Errorf("there is left\n%s", got)
	}
}
