package mcp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

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
