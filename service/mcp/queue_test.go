package mcp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service/mcp"
	"github.com/runnel-io/runnel/tests/rig"
)

type queueResult struct {
	Lines []struct {
		Pool, Priority   string
		Waiting, Running int
		Paused           bool
		PausedBy         string `json:"paused_by"`
	}
	Waiting, Failed []struct {
		Work, State, Why string
		Attempt          int
	}
	Cut string
}

// An agent queues a command, sees why it waits, and what came of it.
func TestQueueTools(t *testing.T) {
	w := open(t)
	a := w.agent(func(cfg *mcp.Config) { cfg.User = func(context.Context) string { return "alice" } })
	var done struct {
		Done        string
		Unconfirmed []string
	}
	if a.must("change_queue", args{"action": "pause", "pool": "web"}, &done); done.Done != "pool web is paused" || len(done.Unconfirmed) != 0 {
		t.Errorf("pause: %+v", done)
	}
	var put struct{ Work string }
	a.must("queue_command", args{"id": "fails", "command": "exit 3", "priority": "high", "pool": "web", "title": "it fails"}, &put)
	a.must("queue_command", args{"id": "goes", "argv": []string{"true"}, "delay_seconds": 3600, "pool": "web", "concurrency_key": "k"}, &put)
	var q queueResult
	a.must("get_queue", args{"limit": 1}, &q)
	if len(q.Lines) != 2 || q.Lines[0].Priority != "high" || !q.Lines[0].Paused || q.Lines[0].PausedBy != "alice" || q.Cut == "" {
		t.Errorf("%+v", q)
	}
	if len(q.Waiting) != 1 || q.Waiting[0].Work != "fails" || q.Waiting[0].Why != "pool web is paused by alice" {
		t.Errorf("%+v", q)
	}
	var run struct {
		State  string
		Queued struct{ Waits string }
		Tags   map[string]string
	}
	if a.must("get_run", args{"run": "goes"}, &run); run.State != "PENDING" || run.Queued.Waits != "paused" || run.Tags["user"] != "alice" {
		t.Errorf("%+v", run)
	}
	if a.must("change_queue", args{"action": "remove", "work": "goes"}, &done); done.Done != "goes is removed" {
		t.Errorf("remove: %+v", done)
	}
	a.must("change_queue", args{"action": "resume", "pool": "web"}, &done)
	rig.Eventually(t, "it has failed", func() bool {
		q = queueResult{}
		a.must("get_queue", nil, &q)
		return len(q.Failed) == 1 && q.Failed[0].Work == "fails" && q.Failed[0].Why == "exit code 3"
	})
	if a.must("change_queue", args{"action": "retry", "work": "fails"}, &done); done.Done != "queued again as fails-a2" {
		t.Errorf("retry: %+v", done)
	}
	if a.must("change_queue", args{"action": "purge", "pool": "gpu"}, &done); done.Done != "0 removed" {
		t.Errorf("purge: %+v", done)
	}
	for words, in := range map[string]args{
		"cannot pause: pool is missing":  {"action": "pause"},
		"cannot retry: work is missing":  {"action": "retry"},
		`cannot use action "explode"`:    {"action": "explode"},
		"it is not waiting in the queue": {"action": "remove", "work": "nosuch"},
	} {
		a.refused("change_queue", in, words)
	}
	a.refused("queue_command", args{}, "give either a command or argv")
	a.refused("queue_command", args{"command": "true", "priority": "urgent"}, "it is high, normal or low")
	a.refused("queue_command", args{"command": "true", "delay_seconds": -1}, "it must be 1 or more")
	a.refused("get_queue", args{"limit": 1000}, "it is 1 to 100")
}

type scheduleResult struct {
	Name, When, Where, By string
	Next                  []string
	Paused, Over          bool
	PausedBy              string `json:"paused_by"`
	LastRun               string `json:"last_run"`
}

func TestScheduleTools(t *testing.T) {
	w := open(t)
	a := w.agent(func(cfg *mcp.Config) { cfg.User = func(context.Context) string { return "alice" } })
	var one scheduleResult
	a.must("save_schedule", args{"name": "nightly", "cron": "0 3 * * *", "tz": "Europe/Berlin", "command": "true"}, &one)
	if one.When != "0 3 * * * Europe/Berlin" || one.Where != "pool default" || one.By != "alice" || len(one.Next) != 5 {
		t.Errorf("%+v", one)
	}
	a.refused("save_schedule", args{"name": "nightly", "every": "1h", "command": "true"}, "there is one of that name")
	a.must("save_schedule", args{"name": "nightly", "every": "1h", "where": "cpus > 0", "command": "true", "replace": true}, &one)
	if one.When != "every 1h" || one.Where != "all where cpus > 0" {
		t.Errorf("%+v", one)
	}
	a.must("save_schedule", args{"name": "once", "at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "on": "web1", "argv": []string{"true"}}, &one)
	if !strings.HasPrefix(one.When, "at ") || one.Where != "on web1" {
		t.Errorf("%+v", one)
	}
	var done struct{ Done, ID string }
	a.must("change_schedule", args{"name": "once", "action": "pause"}, &done)
	a.must("change_schedule", args{"name": "once", "action": "run"}, &done)
	var list struct {
		Schedules []scheduleResult
		History   []struct{ Run, State string }
		Cut       string
	}
	rig.Eventually(t, "its run is in the history", func() bool {
		list.History = nil
		a.must("list_schedules", args{"name": "once"}, &list)
		return len(list.History) == 1 && list.History[0].Run == done.ID+"-web1" && list.History[0].State == "COMPLETE"
	})
	if s := list.Schedules[0]; !s.Paused || s.PausedBy != "alice" || s.LastRun != done.ID+"-web1" || len(s.Next) != 0 {
		t.Errorf("%+v", s)
	}
	a.must("change_schedule", args{"name": "once", "action": "resume"}, &done)
	if a.must("list_schedules", args{"limit": 1}, &list); len(list.Schedules) != 1 || list.Cut != "1 more schedules" {
		t.Errorf("%+v", list)
	}
	a.must("change_schedule", args{"name": "once", "action": "remove"}, &done)
	a.refused("change_schedule", args{"name": "once", "action": "run"}, "unknown schedule")
	a.refused("list_schedules", args{"name": "once"}, "unknown schedule")
	a.refused("change_schedule", args{"name": "nightly", "action": "explode"}, `cannot use action "explode"`)
	a.refused("save_schedule", args{"name": "x", "cron": "0 0 30 2 *", "command": "true"}, "matches no date")
	a.refused("save_schedule", args{"name": "x", "at": "noon", "command": "true"}, `cannot use at "noon"`)
	a.refused("save_schedule", args{"name": "x", "every": "1h"}, "give either a command or argv")
}
