package gateway_test

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

type lastLine struct {
	ID, Runner, State, Text, T string
	N                          int64
	Stderr                     bool
	Age                        *float64
}

// Of a fan-out each run's last line is told with its age, and which have the same
// output; one that goes on has a line and no group.
func TestLastLines(t *testing.T) {
	w := open(t)
	for _, name := range []string{"r2", "r3", "r4"} {
		r, err := service.Start(rig.Within(t, time.Minute), w.fleet.Conn(), service.Config{Name: name, DataDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
	}
	var started startedJSON
	dir := t.TempDir() // the first one goes on, the second one is odd
	command := `echo first; if mkdir ` + dir + `/slow 2>/dev/null; then sleep 100; elif mkdir ` + dir + `/odd 2>/dev/null; then echo odd >&2; exit 1; else echo last; fi`
	rig.Eventually(t, "all four take it", func() bool {
		var runners struct{ Runners []struct{ Online bool } }
		return w.send("GET", "/api/v1/runners", "", &runners) == 200 && len(runners.Runners) == 4
	})
	if code := w.send("POST", "/api/v1/runs", `{"command":"`+command+`","target":{"all":true}}`, &started, auth.ScopeRun); code != 202 || len(started.Runs) != 4 {
		t.Fatalf("%d %+v", code, started)
	}
	var got struct {
		Runs []lastLine
		Same []struct {
			State, SHA256, Text string
			ExitCode            int
			Runs                []string
		}
		Next string
	}
	rig.Eventually(t, "three have ended and the fourth has a line", func() bool {
		code := w.send("GET", "/api/v1/last-lines?group="+started.Group, "", &got)
		return code == 200 && len(got.Runs) == 4 && len(got.Same) == 2 && len(got.Same[0].Runs) == 2 && !slices.ContainsFunc(got.Runs, func(r lastLine) bool { return r.N == 0 })
	})
	byRunner := slices.Clone(got.Runs)
	if !slices.IsSortedFunc(byRunner, func(a, b lastLine) int { return strings.Compare(a.Runner, b.Runner) }) {
		t.Errorf("not by runner: %+v", byRunner)
	}
	slices.SortStableFunc(got.Runs, func(a, b lastLine) int { return strings.Compare(a.Text, b.Text) })
	for i, want := range []struct {
		text, state string
		n           int64
		stderr      bool
	}{{"first", "RUNNING", 1, false}, {"last", "COMPLETE", 2, false}, {"last", "COMPLETE", 2, false}, {"odd", "COMPLETE", 2, true}} {
		r := got.Runs[i]
		if r.State != want.state || r.Text != want.text || r.N != want.n || r.Stderr != want.stderr || r.Age == nil || *r.Age < 0 || *r.Age > 3600 || len(r.T) != 19 {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
	if s := got.Same[0]; s.State != "COMPLETE" || s.ExitCode != 0 || s.Text != "last" || len(s.SHA256) != 64 || !slices.Equal(s.Runs, []string{got.Runs[1].ID, got.Runs[2].ID}) {
		t.Errorf("the same: %+v", s)
	}
	if s := got.Same[1]; s.ExitCode != 1 || s.Text != "odd" || !slices.Equal(s.Runs, []string{got.Runs[3].ID}) {
		t.Errorf("the odd one: %+v", s)
	}
	w.send("GET", "/api/v1/last-lines?run="+byRunner[1].ID+"&run="+byRunner[0].ID, "", &got)
	if len(got.Runs) != 2 || got.Runs[0].ID != byRunner[0].ID {
		t.Errorf("of two: %+v", got)
	}
	for _, query := range []string{"", "?group=x&run=y", "?group=x&limit=0", "?limit=1&run=a&run=b"} {
		var refused struct{ Error string }
		if code := w.send("GET", "/api/v1/last-lines"+query, "", &refused); code != 400 || refused.Error == "" {
			t.Errorf("%q: %d %+v", query, code, refused)
		}
	}
	if code := w.send("GET", "/api/v1/last-lines?group=nosuch", "", &got); code != 200 || len(got.Runs) != 0 || got.Runs == nil || got.Same == nil {
		t.Errorf("of nothing: %d %+v", code, got)
	}
	if res, text := w.do("GET", "/api/v1/last-lines?group=x", "", bearer(t, auth.ScopeRun)); res.StatusCode != 403 || !strings.Contains(text, "needs scope read") {
		t.Errorf("without scope read: %d %s", res.StatusCode, text)
	}
}
