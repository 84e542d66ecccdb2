package mcp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/mcp"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestRunOnTwoHosts(t *testing.T) {
	w := open(t)
	a := w.agent(func(cfg *mcp.Config) { cfg.User = func(context.Context) string { return "alice" } })
	var r result
	a.must("run", args{"command": `echo "hello $WHO"; echo bad >&2; exit 3`, "env": args{"WHO": "you"}, "all": true, "tags": args{"team": "x"}}, &r)
	if len(r.Runs) != 2 || !r.Ended || r.Cursor != "" || r.Summary != "2 runs: 2 failed" {
		t.Fatalf("%+v", r)
	}
	for i, run := range r.Runs {
		if run.Runner != fmt.Sprint("web", i+1) || run.State != "COMPLETE" || run.ExitCode == nil || *run.ExitCode != 3 || run.Cut != nil ||
			!strings.Contains(run.Output, "hello you\n") || !strings.Contains(run.Output, "bad\n") {
			t.Errorf("%+v", run)
		}
	}
	if !a.said("started on web1, web2") {
		t.Errorf("no progress: %q", a.progress)
	}
	var list struct {
		Runs []struct{ Run, Command string }
	}
	if a.must("list_runs", args{"tags": args{"team": "x", "user": "alice"}, "runner": "web2"}, &list); len(list.Runs) != 1 {
		t.Errorf("%+v", list)
	}
	var record map[string]any
	if a.must("get_run", args{"run": r.Runs[0].Run}, &record); record["id"] != r.Runs[0].Run || record["exitCode"] != float64(3) {
		t.Errorf("%v", record)
	}
	for target, want := range map[string]string{"on": "web2", "where": `labels.env == "prod"`, "pool": "web"} {
		a.must("run", args{"argv": []string{"printf", "%s", "a b"}, target: want}, &r)
		if len(r.Runs) != 1 || r.Runs[0].Output != "a b" || target == "on" && r.Runs[0].Runner != "web2" || target == "where" && r.Runs[0].Runner != "web1" {
			t.Errorf("%s: %+v", target, r)
		}
	}
	r = result{}
	if a.must("run", args{"command": "true", "all": true, "where": `labels.env == "prod"`}, &r); len(r.Runs) != 1 || r.Skipped != 1 {
		t.Errorf("all with where: %+v", r)
	}
	r = result{}
	if a.must("run", args{"command": "true", "all": true, "limit": "1"}, &r); len(r.Runs) != 1 {
		t.Errorf("limit: %+v", r)
	}
}

// A run that goes on longer than the call comes with a cursor, and each line comes
// once.
func TestFollow(t *testing.T) {
	w := open(t)
	a := w.agent()
	var r result
	dir := t.TempDir()
	a.must("run", args{"command": `echo one; until [ -e ` + dir + `/go ]; do sleep .02; done; echo two; exit 4`, "on": "web1", "wait_seconds": 1}, &r)
	if r.Ended || r.Cursor == "" || len(r.Runs) != 1 || r.Runs[0].State != "RUNNING" || r.Runs[0].Output != "one\n" || r.Runs[0].ExitCode != nil {
		t.Fatalf("%+v", r)
	}
	id := r.Runs[0].Run
	again := r
	if a.must("follow", args{"cursor": r.Cursor, "wait_seconds": 0}, &again); again.Ended || again.Runs[0].Output != "" || again.Cursor == "" {
		t.Fatalf("%+v", again)
	}
	var touched result
	a.must("run", args{"argv": []string{"touch", dir + "/go"}, "on": "web1"}, &touched)
	last := result{}
	b := w.agent() // another server: the cursor has all it needs
	b.must("follow", args{"cursor": again.Cursor}, &last)
	if !last.Ended || last.Cursor != "" || last.Runs[0].Output != "two\n" || *last.Runs[0].ExitCode != 4 {
		t.Errorf("%+v", last)
	}
	whole := result{}
	if b.must("follow", args{"runs": []string{id}}, &whole); whole.Runs[0].Output != "one\ntwo\n" || !whole.Ended {
		t.Errorf("%+v", whole)
	}
	for _, cursor := range []string{"x", "x@", "x@1", "x@a.b", "x@1.-1", "@1.1", strings.Repeat("x@1.1 ", 501)} {
		b.refused("follow", args{"cursor": cursor}, "")
	}
	b.refused("follow", args{}, "name runs")
	b.refused("follow", args{"runs": []string{"nobody"}}, "nobody")
}

func TestAbort(t *testing.T) {
	w := open(t)
	a := w.agent()
	var r result
	a.must("run", args{"command": "echo begun; sleep 100", "all": true, "wait_seconds": 0}, &r)
	if len(r.Runs) != 2 || r.Ended {
		t.Fatalf("%+v", r)
	}
	var ended struct {
		Runs []struct{ Run, State, Error string }
	}
	a.must("abort", args{"runs": []string{r.Runs[0].Run, r.Runs[1].Run, "nobody"}, "wait_seconds": 30}, &ended)
	if len(ended.Runs) != 3 || ended.Runs[0].State != "ABORTED" || ended.Runs[1].State != "ABORTED" || ended.Runs[2].Error == "" {
		t.Errorf("%+v", ended)
	}
	a.refused("abort", args{"runs": []string{"nobody"}}, "nobody")
	a.refused("abort", args{"runs": []string{}}, "name runs")
}

// Whoever cancels a call, or goes away meanwhile, leaves nothing that runs.
func TestCancelledCallEndsItsRuns(t *testing.T) {
	w := open(t)
	running := func() int {
		reply, err := w.asks.Query(rig.Within(t, time.Minute), &pb.Query{All: true, States: []pb.State{pb.State_PENDING, pb.State_RUNNING}})
		if err != nil {
			t.Fatal(err)
		}
		return len(reply.GetRuns())
	}
	a := w.agent()
	ctx, cancel := context.WithCancel(rig.Within(t, time.Minute))
	done := make(chan error, 1)
	go func() {
		_, err := a.CallTool(ctx, &sdk.CallToolParams{Name: "run", Arguments: args{"command": "sleep 100", "all": true, "wait_seconds": 100}})
		done <- err
	}()
	rig.Eventually(t, "both run", func() bool { return running() == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled call: %v", err)
	}
	rig.Eventually(t, "none runs", func() bool { return running() == 0 })

	b := w.agent()
	go func() {
		_, _ = b.CallTool(context.Background(), &sdk.CallToolParams{Name: "run", Arguments: args{"command": "sleep 100", "wait_seconds": 100}})
	}()
	rig.Eventually(t, "it runs", func() bool { return running() == 1 })
	b.hangUp()
	rig.Eventually(t, "it is ended", func() bool { return running() == 0 })
}

// Much output is cut, says so, and can be read on without a hole.
func TestMuchOutput(t *testing.T) {
	w := open(t)
	a := w.agent()
	var r result
	const count = 200_000
	a.must("run", args{"command": fmt.Sprintf("seq %d", count), "on": "web1", "max_bytes": 4096, "wait_seconds": 100}, &r)
	run := r.Runs[0]
	if !r.Ended || run.Cut == nil || run.Cut.Bytes < 1_000_000 || len(run.Output) > 4300 {
		t.Fatalf("%+v", r)
	}
	if !strings.HasPrefix(run.Output, "1\n2\n") || !strings.HasSuffix(run.Output, fmt.Sprintf("\n%d\n", count)) ||
		!strings.Contains(run.Output, fmt.Sprintf("[%d bytes were cut here; get_log with from_line %d has them]", run.Cut.Bytes, run.Cut.FromLine)) {
		t.Errorf("%s", run.Output)
	}
	var text strings.Builder
	in := args{"run": run.Run, "max_bytes": 200_001}
	for pages := 0; ; pages++ {
		var part struct{ Output, Next string }
		a.must("get_log", in, &part)
		if len(part.Output) > 200_001 || pages > 100 {
			t.Fatalf("page %d has %d bytes", pages, len(part.Output))
		}
		text.WriteString(part.Output)
		if part.Next == "" {
			break
		}
		in["next"] = part.Next
	}
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	if len(lines) != count || lines[count/2] != fmt.Sprint(count/2+1) {
		t.Errorf("%d lines of %d", len(lines), count)
	}
	var from struct{ Output, Next string }
	if a.must("get_log", args{"run": run.Run, "from_line": run.Cut.FromLine, "max_bytes": 64}, &from); !strings.HasPrefix(from.Output, fmt.Sprintf("%d\n", run.Cut.FromLine)) || from.Next == "" {
		t.Errorf("%+v", from)
	}
	var tail struct {
		Output string
		Before int64 `json:"cut_before"`
	}
	if a.must("get_log", args{"run": run.Run, "tail": 2}, &tail); tail.Output != fmt.Sprintf("%d\n%d\n", count-1, count) || tail.Before != 0 {
		t.Errorf("%+v", tail)
	}
	if a.must("get_log", args{"run": run.Run, "tail": 100, "max_bytes": 64}, &tail); tail.Before == 0 || len(tail.Output) > 64 || !strings.HasSuffix(tail.Output, fmt.Sprintf("\n%d\n", count)) {
		t.Errorf("%+v", tail)
	}
	for _, bad := range []args{{"stream": "x"}, {"from_line": 1, "tail": 1}, {"next": "x"}, {"next": "stdout@1.1+0", "stream": "stderr"}, {"max_bytes": 1}, {"tail": -1}} {
		bad["run"] = run.Run
		a.refused("get_log", bad, "")
	}
}

// One line without an end is read on within it, and no character is cut.
func TestOneLongLine(t *testing.T) {
	w := open(t)
	a := w.agent()
	var r result
	a.must("run", args{"command": `for i in $(seq 5000); do printf 'aé€'; done; echo err >&2`, "max_bytes": 64}, &r)
	var text strings.Builder
	in := args{"run": r.Runs[0].Run, "max_bytes": 1000, "stream": "stdout"}
	for {
		var part struct{ Output, Next string }
		a.must("get_log", in, &part)
		text.WriteString(part.Output)
		if part.Next == "" {
			break
		}
		in["next"] = part.Next
	}
	if text.String() != strings.Repeat("aé€", 5000) {
		t.Errorf("%d bytes, %q…", text.Len(), text.String()[:100])
	}
}
