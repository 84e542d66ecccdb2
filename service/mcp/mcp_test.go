package mcp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/mcp"
	"github.com/runnel-io/runnel/tests/rig"
)

func names(list *sdk.ListToolsResult) (names []string) {
	for _, t := range list.Tools {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

var readers = []string{"follow", "get_job", "get_log", "get_queue", "get_run", "glance", "list_hosts", "list_jobs", "list_pipelines", "list_runs", "list_schedules"}

// destroyers may do harm.
var destroyers = []string{"run", "abort", "start_job", "cancel_job", "queue_command", "change_queue", "save_schedule", "change_schedule"}

// An agent sees what it can use, and which of that may do harm.
func TestTools(t *testing.T) {
	w := open(t)
	list, err := w.agent().ListTools(rig.Within(t, time.Minute), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Sorted(slices.Values(append(append([]string{"run_code"}, destroyers...), readers...)))
	if got := names(list); !slices.Equal(got, all) {
		t.Errorf("got %q, want %q", got, all)
	}
	for _, tool := range list.Tools {
		reads, destroys := tool.Annotations.ReadOnlyHint, *tool.Annotations.DestructiveHint
		if reads != slices.Contains(readers, tool.Name) || destroys != slices.Contains(destroyers, tool.Name) {
			t.Errorf("%s: read-only %v, destructive %v", tool.Name, reads, destroys)
		}
		if tool.Description == "" || tool.InputSchema == nil || tool.OutputSchema == nil {
			t.Errorf("%s does not say what it does, takes and gives", tool.Name)
		}
	}
	quiet := w.agent(func(cfg *mcp.Config) { cfg.ReadOnly = true })
	if list, err = quiet.ListTools(rig.Within(t, time.Minute), nil); err != nil || !slices.Equal(names(list), readers) {
		t.Errorf("read-only: got %q, want %q (%v)", names(list), readers, err)
	}
	quiet.refused("run", args{"command": "echo no"}, "read-only")
	quiet.refused("abort", args{"runs": []string{"x"}}, "read-only")
}

// What a caller may not do is refused in words that name the scope.
func TestScopes(t *testing.T) {
	w := open(t)
	a := w.agent(func(cfg *mcp.Config) {
		cfg.May = func(_ context.Context, need mcp.Need) error {
			if need == mcp.NeedRead {
				return nil
			}
			return fmt.Errorf("it needs scope %s", need)
		}
	})
	a.refused("run", args{"command": "echo no"}, "it needs scope run")
	a.refused("run_code", args{"language": "bash", "source": "echo"}, "it needs scope code")
	a.refused("abort", args{"runs": []string{"x"}}, "it needs scope run")
	a.refused("start_job", args{"pipeline": "slow"}, "it needs scope jobs")
	a.refused("cancel_job", args{"job": "x"}, "it needs scope jobs")
	a.refused("queue_command", args{"command": "echo no"}, "it needs scope run")
	a.refused("change_queue", args{"action": "pause", "pool": "default"}, "it needs scope run")
	a.refused("save_schedule", args{"name": "x", "every": "1h", "command": "true"}, "it needs scope run")
	a.refused("change_schedule", args{"name": "x", "action": "run"}, "it needs scope run")
	a.refused("glance", args{"what": "file", "path": "/etc/hostname"}, "it needs scope run")
	a.refused("glance", args{"what": "processes"}, "it needs scope run")
	var seen any
	a.must("glance", args{"what": "system", "on": "web1"}, &seen)
	var runs struct{ Runs []any }
	if a.must("list_runs", nil, &runs); len(runs.Runs) != 0 {
		t.Errorf("something was run: %v", runs)
	}
}

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

func TestHosts(t *testing.T) {
	w := open(t)
	a := w.agent()
	type hosts struct {
		Hosts []struct {
			Name   string
			Online bool
			Pools  []string
			Labels map[string]string
			CPUs   int
		}
		Total int
		Next  string
	}
	var list hosts
	if a.must("list_hosts", nil, &list); list.Total != 2 || len(list.Hosts) != 2 || !list.Hosts[0].Online || list.Hosts[0].Labels["env"] != "prod" || list.Hosts[0].CPUs == 0 {
		t.Errorf("%+v", list)
	}
	list = hosts{}
	if a.must("list_hosts", args{"limit": 1}, &list); len(list.Hosts) != 1 || list.Next != "web1" {
		t.Errorf("%+v", list)
	}
	list = hosts{}
	if a.must("list_hosts", args{"limit": 1, "after": "web1"}, &list); len(list.Hosts) != 1 || list.Hosts[0].Name != "web2" || list.Next != "" {
		t.Errorf("%+v", list)
	}
	type glances struct {
		Hosts []struct {
			Runner    string
			System    *struct{ OS, CPUs string }
			Processes []struct{ PID int }
			Entries   []struct{ Name string }
			File      *struct {
				Text, Base64 string
				Cut          int64
			}
			Next, Error string
		}
	}
	var g glances
	if a.must("glance", args{"what": "system", "all": true}, &g); len(g.Hosts) != 2 || g.Hosts[1].System == nil || g.Hosts[1].System.OS == "" {
		t.Errorf("%+v", g)
	}
	g = glances{}
	if a.must("glance", args{"what": "processes", "on": "web1", "top": 1}, &g); len(g.Hosts[0].Processes) != 1 {
		t.Errorf("%+v", g)
	}
	g = glances{}
	if a.must("glance", args{"what": "directory", "path": "/", "on": "web1", "top": 2}, &g); len(g.Hosts[0].Entries) != 2 || g.Hosts[0].Next == "" {
		t.Errorf("%+v", g)
	}
	g = glances{}
	if a.must("glance", args{"what": "file", "path": "/etc/passwd", "on": "web1", "max_bytes": 64}, &g); !strings.HasPrefix(g.Hosts[0].File.Text, "root:") || g.Hosts[0].File.Cut <= 0 {
		t.Errorf("%+v", g)
	}
	g = glances{}
	if a.must("glance", args{"what": "file", "path": "/no/such", "on": "web1"}, &g); g.Hosts[0].File != nil || g.Hosts[0].Error == "" {
		t.Errorf("%+v", g)
	}
	a.refused("glance", args{"what": "moon"}, "directory")
	a.refused("glance", args{"what": "system", "on": "web9"}, "web9")
}

func TestPipelines(t *testing.T) {
	w := open(t)
	a := w.agent(func(cfg *mcp.Config) { cfg.User = func(context.Context) string { return "alice" } })
	type job struct {
		Job, Status, User string
		Tasks             []struct {
			Name, Status string
			Runs         []string
		}
	}
	var list struct {
		Pipelines []struct{ Name, Definition string }
	}
	if a.must("list_pipelines", nil, &list); len(list.Pipelines) != 2 || list.Pipelines[0].Name != "release" || list.Pipelines[0].Definition != "" {
		t.Errorf("%+v", list)
	}
	if a.must("list_pipelines", args{"name": "slow"}, &list); len(list.Pipelines) != 1 || !strings.Contains(list.Pipelines[0].Definition, "sleep 100") {
		t.Errorf("%+v", list)
	}
	var j job
	a.must("start_job", args{"pipeline": "release", "variables": args{"tag": "v1"}, "wait_seconds": 100}, &j)
	if j.Status != "done" || j.User != "alice" || len(j.Tasks) != 2 || j.Tasks[0].Status != "done" {
		t.Fatalf("%+v", j)
	}
	var log struct{ Output string }
	if a.must("get_log", args{"run": j.Tasks[0].Runs[0]}, &log); log.Output != "lint v1\n" {
		t.Errorf("%+v", log)
	}
	j = job{}
	if a.must("start_job", args{"pipeline": "slow"}, &j); j.Status != "waiting" && j.Status != "running" {
		t.Errorf("%+v", j)
	}
	a.must("cancel_job", args{"job": j.Job, "reason": "enough"}, &j)
	if a.must("get_job", args{"job": j.Job, "wait_seconds": 100}, &j); j.Status != "canceled" {
		t.Errorf("%+v", j)
	}
	var jobs struct {
		Jobs []job
		More bool
	}
	if a.must("list_jobs", args{"limit": 1}, &jobs); len(jobs.Jobs) != 1 || !jobs.More || jobs.Jobs[0].Job != j.Job {
		t.Errorf("%+v", jobs)
	}
	a.refused("start_job", args{"pipeline": "nothing"}, "not defined")
	a.refused("get_job", args{"job": "nothing"}, "")
}

func TestRunCode(t *testing.T) {
	w := open(t)
	a := w.agent()
	var r result
	if err := a.call("run_code", args{"language": "bash", "source": "cat; echo $1", "stdin": "in\n", "args": []string{"arg"}}, &r); err != nil {
		if strings.Contains(err.Error(), "isolation") {
			t.Skipf("this machine can't isolate: %v", err)
		}
		t.Fatal(err)
	}
	if len(r.Runs) != 1 || r.Runs[0].Output != "in\narg\n" {
		t.Errorf("%+v", r)
	}
	a.refused("run_code", args{"language": "klingon", "source": "x"}, "klingon")
}

// What is wrong with a call is said in its own words.
func TestWrongCalls(t *testing.T) {
	w := open(t)
	a := w.agent()
	a.refused("run", args{}, "command or argv")
	a.refused("run", args{"command": "x", "argv": []string{"y"}}, "argv")
	a.refused("run", args{"command": "x", "bogus": 1}, "bogus")
	a.refused("run", args{"command": "x", "wait_seconds": 601}, "wait_seconds")
	a.refused("run", args{"command": "x", "max_bytes": 1 << 20}, "max_bytes")
	a.refused("run", args{"command": "x", "timeout_seconds": -1}, "timeout_seconds")
	a.refused("run", args{"command": "x", "on": "web9"}, "web9")
	a.refused("run", args{"command": "x", "on": "web1", "pool": "web"}, "pool")
	a.refused("run", args{"command": "x", "all": true, "where": "labels.env == \"none\""}, "matches")
	a.refused("run", args{"command": "x", "env": args{"A=B": "c"}}, "env")
	a.refused("list_runs", args{"states": []string{"HAPPY"}}, "HAPPY")
	a.refused("list_runs", args{"limit": 1000}, "limit")
	a.refused("get_run", args{"run": "nobody"}, "nobody")
}

// Lines that are no messages are answered, and harm no other.
func TestGarbage(t *testing.T) {
	f := &world{t: t}
	in, out := strings.Builder{}, strings.Builder{}
	for _, line := range []string{
		"hello", "{", "[]", "42", `{"jsonrpc":"1.0","id":1,"method":"x"}`, "\x00\xff", strings.Repeat("x", 5<<20), "", `{"id":{},"jsonrpc":"2.0","method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":9,"result":{}}`, "more",
		`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"run","arguments":[1]}}`,
	} {
		in.WriteString(line + "\n")
	}
	w := f.t
	server := mcp.New(mcp.Config{Logger: rig.Logger(w)})
	if err := server.Serve(rig.Within(t, time.Minute), strings.NewReader(in.String()), &out); err != nil {
		t.Error(err)
	}
	text := out.String()
	if n := strings.Count(text, `"id":null`); n != 9 {
		t.Errorf("%d lines of 9 were answered as garbage:\n%s", n, text)
	}
	if !strings.Contains(text, "-32700") || !strings.Contains(text, "-32600") || !strings.Contains(text, `"serverInfo"`) || !strings.Contains(text, `"list_hosts"`) || !strings.Contains(text, `"id":3`) {
		t.Errorf("%s", text)
	}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if !strings.HasPrefix(s.Text(), `{"`) {
			t.Errorf("no message: %s", s.Text())
		}
	}
}

// A server that is stopped ends its calls.
func TestStop(t *testing.T) {
	w := open(t)
	ctx, stop := context.WithCancel(rig.Within(t, time.Minute))
	toServer, fromAgent := io.Pipe()
	toAgent, fromServer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- mcp.New(mcp.Config{Client: w.asks}).Serve(ctx, toServer, fromServer)
		_ = fromServer.Close()
		_ = toServer.Close()
	}()
	a := &agent{t: t}
	a.ClientSession = dial(t, a, &sdk.IOTransport{Reader: toAgent, Writer: fromAgent})
	call := make(chan error, 1)
	go func() {
		_, err := a.CallTool(ctx, &sdk.CallToolParams{Name: "run", Arguments: args{"command": "sleep 100", "wait_seconds": 600}})
		call <- err
	}()
	rig.Eventually(t, "it runs", func() bool {
		reply, err := w.asks.Query(ctx, &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}})
		return err == nil && len(reply.GetRuns()) == 1
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-call; err == nil {
		t.Error("the call has a result")
	}
	_ = a.Close()
}
