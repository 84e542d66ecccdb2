package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// ofQueueAndSchedules are their routes, for TestOpenAPI.
var ofQueueAndSchedules = []exercise{
	{"POST", "/api/v1/queue/pools/default/pause", ""},
	{"POST", "/api/v1/queue/work", `{"id":"w1","command":"exit 3","priority":"low","retries":{"max":1,"on":["exit"]},"delay":"1h","notBefore":"2026-01-01T00:00:00Z","concurrency":{"key":"k","max":1}}`},
	{"POST", "/api/v1/queue/work", `{"argv":["true"],"retries":2}`},
	{"GET", "/api/v1/queue", ""}, {"GET", "/api/v1/queue/work?limit=1", ""}, {"GET", "/api/v1/queue/work?failed=true", ""}, {"GET", "/api/v1/queue/work/w1", ""},
	{"POST", "/api/v1/queue/work/w1/retry", ""}, {"DELETE", "/api/v1/queue/work/w1", ""}, {"POST", "/api/v1/queue/retry", ""},
	{"POST", "/api/v1/queue/pools/default/purge", ""}, {"POST", "/api/v1/queue/pools/default/resume", ""},
	{"POST", "/api/v1/schedules", `{"name":"s1","cron":"0 3 * * *","tz":"Europe/Berlin","overlap":"allow","task":{"argv":["true"],"tags":{"a":"b"}}}`},
	{"PUT", "/api/v1/schedules/s1", `{"every":"1h","task":{"commands":["true"]}}`},
	{"POST", "/api/v1/schedules/s1/check", `{"every":"5m","task":{"argv":["true"]}}`}, {"POST", "/api/v1/schedules/s1/pause", ""}, {"GET", "/api/v1/schedules", ""}, {"GET", "/api/v1/schedules/s1", ""}, {"POST", "/api/v1/schedules/s1/resume", ""},
	{"POST", "/api/v1/schedules/s1/run", ""}, {"GET", "/api/v1/schedules/s1/history?limit=1", ""}, {"DELETE", "/api/v1/schedules/s1", ""},
}

type queueJSON struct {
	Lines []struct {
		Pool, Priority   string
		Waiting, Running int
		OldestSeconds    float64
		Oldest           time.Time
		Paused           bool
		PausedBy         string
		PausedSince      time.Time
	}
	Conflicts []struct{ ID string }
}

type workJSON struct {
	runJSON
	Error  string
	Queued struct {
		Pool, Priority, Waits, Why string
		Until                      time.Time
		Retries                    int
	}
}

// state is the state of what an id means.
func (w *world) state(id string) string {
	w.t.Helper()
	var got struct{ Work workJSON }
	if code := w.send("GET", "/api/v1/queue/work/"+id, "", &got); code != 200 {
		w.t.Fatalf("show %s: %d", id, code)
	}
	return got.Work.State
}

func TestQueueRoutes(t *testing.T) {
	w := open(t)
	var none queueJSON
	if code := w.send("GET", "/api/v1/queue", "", &none); code != 200 || none.Lines == nil || len(none.Lines) != 0 {
		t.Errorf("nobody has used it: %d %+v", code, none)
	}
	var paused struct {
		Pool        string
		Paused      bool
		Unconfirmed []string
	}
	if code := w.send("POST", "/api/v1/queue/pools/default/pause", "", &paused, auth.ScopeRun); code != 200 || !paused.Paused || len(paused.Unconfirmed) != 0 {
		t.Fatalf("pause: %d %+v", code, paused)
	}
	var put workJSON
	if code := w.send("POST", "/api/v1/queue/work", `{"id":"first","command":"exit 3","priority":"high","tags":{"a":"b"}}`, &put, auth.ScopeRun); code != 202 || put.ID != "first" || put.State != "PENDING" {
		t.Fatalf("put: %d %+v", code, put)
	}
	if put.Queued.Waits != "paused" || put.Queued.Why != "pool default is paused by me" || put.Tags["user"] != "me" || put.Tags["a"] != "b" {
		t.Errorf("put: %+v", put)
	}
	w.send("POST", "/api/v1/queue/work", `{"id":"second","argv":["true"]}`, nil, auth.ScopeRun)
	var q queueJSON
	w.send("GET", "/api/v1/queue", "", &q)
	if len(q.Lines) != 2 || q.Lines[0].Priority != "high" || q.Lines[0].Waiting != 1 || !q.Lines[0].Paused || q.Lines[0].PausedBy != "me" || q.Lines[0].PausedSince.IsZero() {
		t.Errorf("%+v", q)
	}
	// Pages, oldest first.
	var seen []string
	for next, pages := "", 0; pages == 0 || next != ""; pages++ {
		var page struct {
			Work []workJSON
			Next string
		}
		if code := w.send("GET", "/api/v1/queue/work?limit=1&next="+next, "", &page); code != 200 || len(page.Work) != 1 || pages > 2 {
			t.Fatalf("page %d: %d %+v", pages, code, page)
		}
		seen, next = append(seen, page.Work[0].ID), page.Next
	}
	if strings.Join(seen, " ") != "first second" {
		t.Errorf("pages: %q", seen)
	}
	var removed workJSON
	if code := w.send("DELETE", "/api/v1/queue/work/second", "", &removed, auth.ScopeRun); code != 200 || removed.State != "ABORTED" {
		t.Errorf("remove: %d %+v", code, removed)
	}
	w.send("POST", "/api/v1/queue/pools/default/resume", "", &paused, auth.ScopeRun)
	if paused.Paused {
		t.Errorf("resume: %+v", paused)
	}
	rig.Eventually(t, "the work has failed", func() bool { return w.state("first") == "COMPLETE" })
	var again struct{ IDs []string }
	rig.Eventually(t, "it can be tried again", func() bool {
		return w.send("POST", "/api/v1/queue/retry", "", &again, auth.ScopeRun) == 202 && len(again.IDs) == 1
	})
	if code := w.send("POST", "/api/v1/queue/work/second/retry", "", nil, auth.ScopeRun); code != 409 { // it was removed
		t.Errorf("retry of what was removed: %d", code)
	}
	if again.IDs[0] != "first-a2" {
		t.Errorf("retry: %+v", again)
	}
	rig.Eventually(t, "both attempts are over", func() bool {
		var got struct {
			Work     workJSON
			Attempts []workJSON
		}
		w.send("GET", "/api/v1/queue/work/first", "", &got)
		return got.Work.ID == "first-a2" && got.Work.State == "COMPLETE" && len(got.Attempts) == 2 && got.Attempts[0].ID == "first"
	})
}

// Why work waits, in a word and in words.
func TestWhyWorkWaits(t *testing.T) {
	w := open(t)
	put := func(body string) (got workJSON) {
		t.Helper()
		if code := w.send("POST", "/api/v1/queue/work", body, &got, auth.ScopeRun); code != 202 {
			t.Fatalf("%s: %d", body, code)
		}
		return got
	}
	if later := put(`{"id":"later","argv":["true"],"delay":"1h"}`); later.Queued.Waits != "later" || later.Queued.Until.Before(time.Now().Add(time.Minute)) {
		t.Errorf("%+v", later)
	}
	if nobody := put(`{"id":"nobody","argv":["true"],"pool":"gpu"}`); nobody.Queued.Waits != "runner" || nobody.Queued.Why != "no runner of pool gpu is online and ready" {
		t.Errorf("%+v", nobody)
	}
	put(`{"id":"holder","argv":["sleep","100"],"concurrency":{"key":"k","max":1}}`)
	rig.Eventually(t, "one has the key", func() bool { return w.state("holder") == "RUNNING" })
	if waits := put(`{"id":"waits","argv":["true"],"concurrency":{"key":"k","max":1}}`); waits.Queued.Waits != "key" || waits.Queued.Why != "key k is taken by holder" {
		t.Errorf("%+v", waits)
	}
	w.send("POST", "/api/v1/runs/holder/abort?wait=20s", "", nil, auth.ScopeRun)
	rig.Eventually(t, "the key is free", func() bool { return w.state("waits") == "COMPLETE" })
}

// Work that nobody has taken in time ends when somebody lists it.
func TestListedWorkExpires(t *testing.T) {
	w := open(t)
	var put workJSON
	w.send("POST", "/api/v1/queue/work", `{"id":"old","argv":["true"],"pool":"gpu","expires":"1s"}`, &put, auth.ScopeRun)
	rig.Eventually(t, "it is listed no more", func() bool {
		var page struct{ Work []workJSON }
		w.send("GET", "/api/v1/queue/work", "", &page)
		return len(page.Work) == 0
	})
	var run workJSON
	if w.send("GET", "/api/v1/runs/old", "", &run); run.State != "FAILED" || run.Reason != "expired" || run.Error != "waited in the queue for more than 1s" || run.Queued.Waits != "" {
		t.Errorf("%+v", run)
	}
	if lines, err := w.fleet.Client().Queue(rig.Within(t, time.Minute)); err != nil || len(lines) != 0 {
		t.Errorf("it is left in the queue: %v %v", lines, err)
	}
}

func TestQueueRefusals(t *testing.T) {
	w := open(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"POST", "work", `{"argv":["true"],"priority":"urgent"}`, 400, "priority"},
		{"POST", "work", `{"argv":["true"],"retries":"many"}`, 400, "retries: it must be a number or an object"},
		{"POST", "work", `{"argv":["true"],"retries":{"max":1,"on":["boredom"]}}`, 400, `boredom\" must be one of lost, exit, signal, timeout, oom`},
		{"POST", "work", `{"argv":["true"],"id":"x-a2"}`, 400, "ends as the ids of attempts do"},
		{"POST", "work", `{"argv":["true"],"pool":"a.b"}`, 400, "cannot use pool"},
		{"POST", "work", `{"argv":["true"],"target":{"all":true}}`, 400, "target"},
		{"POST", "work", `{}`, 400, "a task is one of command, argv, script, and code"},
		{"GET", "work/nosuch", "", 404, "nosuch"},
		{"GET", "work?next=x", "", 400, "is not from a reply"},
		{"DELETE", "work/nosuch", "", 404, "no work nosuch waits"},
		{"POST", "work/nosuch/retry", "", 404, "nosuch"},
		{"POST", "pools/a.b/pause", "", 400, "cannot use pool"},
	} {
		res, text := w.do(c.method, "/api/v1/queue/"+c.path, c.body, bearer(t, auth.ScopeAdmin))
		if res.StatusCode != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, res.StatusCode, text)
		}
	}
	// What has ended well is neither removed nor tried again.
	w.send("POST", "/api/v1/queue/work", `{"id":"good","argv":["true"]}`, nil, auth.ScopeRun)
	rig.Eventually(t, "it is done", func() bool { return w.state("good") == "COMPLETE" })
	for _, c := range []exercise{{"DELETE", "good", "does not wait: it is COMPLETE"}, {"POST", "good/retry", "it has succeeded"}} {
		if res, text := w.do(c.method, "/api/v1/queue/work/"+c.path, "", bearer(t, auth.ScopeRun)); res.StatusCode != 409 || !strings.Contains(text, c.body) {
			t.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, text)
		}
	}
}

type scheduleJSON struct {
	Name, Cron, Tz, Every, Overlap, By string
	All, Over                          bool
	Revision                           int
	Next                               []time.Time
	Paused                             *struct {
		By    string
		Since time.Time
	}
	Task struct {
		Argv []string
		Tags map[string]string
	}
	Last *runJSON
}

func TestScheduleRoutes(t *testing.T) {
	w := open(t)
	var one scheduleJSON
	const nightly = `{"name":"nightly","cron":"0 3 * * *","tz":"Europe/Berlin","task":{"argv":["echo","hi"],"tags":{"a":"b"}}}`
	if code := w.send("POST", "/api/v1/schedules", nightly, &one, auth.ScopeRun); code != 201 || one.By != "me" || one.Task.Tags["user"] != "me" || one.Task.Tags["a"] != "b" {
		t.Fatalf("add: %d %+v", code, one)
	}
	if len(one.Next) != 5 || one.Next[0].Minute() != 0 || !one.Next[1].After(one.Next[0]) || one.Over {
		t.Errorf("its next ticks: %+v", one)
	}
	first := one.Revision
	if res, text := w.do("POST", "/api/v1/schedules", nightly, bearer(t, auth.ScopeRun)); res.StatusCode != 409 {
		t.Errorf("a second time: %d %s", res.StatusCode, text)
	}
	if code := w.send("POST", "/api/v1/schedules/nightly/pause", "", &one, auth.ScopeRun); code != 200 || one.Paused == nil || one.Paused.By != "me" || one.Paused.Since.IsZero() || len(one.Next) != 0 {
		t.Errorf("pause: %d %+v", code, one)
	}
	// A change keeps the pause; one of an older revision is refused.
	if code := w.send("PUT", "/api/v1/schedules/nightly", `{"every":"1h","overlap":"allow","task":{"argv":["echo","ho"]}}`, &one, auth.ScopeRun); code != 200 || one.Paused == nil || one.Every != "1h" || one.Cron != "" {
		t.Errorf("change: %d %+v", code, one)
	}
	if code := w.send("PUT", "/api/v1/schedules/nightly", `{"revision":`+jsonOf(t, first)+`,"every":"2h","task":{"argv":["true"]}}`, nil, auth.ScopeRun); code != 409 {
		t.Errorf("of an older revision: %d", code)
	}
	one = scheduleJSON{}
	if code := w.send("POST", "/api/v1/schedules/nightly/resume", "", &one, auth.ScopeRun); code != 200 || one.Paused != nil || len(one.Next) != 5 {
		t.Errorf("resume: %d %+v", code, one)
	}
	var fired struct{ ID string }
	if code := w.send("POST", "/api/v1/schedules/nightly/run", "", &fired, auth.ScopeRun); code != 202 || !strings.HasPrefix(fired.ID, "nightly-") {
		t.Fatalf("run: %d %+v", code, fired)
	}
	var history struct{ Runs []runJSON }
	rig.Eventually(t, "its run is in the history", func() bool {
		w.send("GET", "/api/v1/schedules/nightly/history", "", &history)
		return len(history.Runs) == 1 && history.Runs[0].ID == fired.ID && history.Runs[0].State == "COMPLETE"
	})
	var list struct{ Schedules []scheduleJSON }
	rig.Eventually(t, "its run is in the list of schedules", func() bool {
		w.send("GET", "/api/v1/schedules", "", &list)
		return len(list.Schedules) == 1 && list.Schedules[0].Last != nil && list.Schedules[0].Last.ID == fired.ID
	})
	if code := w.send("DELETE", "/api/v1/schedules/nightly", "", nil, auth.ScopeRun); code != 204 {
		t.Errorf("remove: %d", code)
	}
	for _, c := range []exercise{{"GET", "", ""}, {"DELETE", "", ""}, {"PUT", "", nightly}, {"POST", "/pause", ""}, {"POST", "/run", ""}} {
		if res, text := w.do(c.method, "/api/v1/schedules/nightly"+c.path, c.body, bearer(t, auth.ScopeAdmin)); res.StatusCode != 404 || !strings.Contains(text, "unknown schedule") {
			t.Errorf("%s %s of one that is gone: %d %s", c.method, c.path, res.StatusCode, text)
		}
	}
}

// A schedule for all is run now by each runner, as a fan-out, also while it is paused.
func TestScheduleForAllRunsNow(t *testing.T) {
	w := open(t)
	w.send("POST", "/api/v1/schedules", `{"name":"all","every":"24h","all":true,"task":{"argv":["true"]}}`, nil, auth.ScopeRun)
	w.send("POST", "/api/v1/schedules/all/pause", "", nil, auth.ScopeRun)
	var fired struct{ ID string }
	if code := w.send("POST", "/api/v1/schedules/all/run", "", &fired, auth.ScopeRun); code != 202 {
		t.Fatal(code)
	}
	rig.Eventually(t, "the runner has run it", func() bool {
		var page struct{ Runs []runJSON }
		w.send("GET", "/api/v1/runs?group="+fired.ID, "", &page)
		return len(page.Runs) == 1 && page.Runs[0].State == "COMPLETE" && page.Runs[0].ID == fired.ID+"-r1" && page.Runs[0].Tags["schedule"] == "all"
	})
}

func TestScheduleRefusals(t *testing.T) {
	w := open(t)
	for body, want := range map[string]string{
		`{"name":"x","cron":"0 0 30 2 *","task":{"argv":["true"]}}`:                   "matches no date",
		`{"name":"x","cron":"0 3 * * *","tz":"Mars/Olympus","task":{"argv":["x"]}}`:   "Mars/Olympus",
		`{"name":"x","every":"500ms","task":{"argv":["true"]}}`:                       "second",
		`{"name":"x","every":"5m"}`:                                                   "task is missing",
		`{"name":"a b","every":"5m","task":{"argv":["true"]}}`:                        "name:",
		`{"name":"x","task":{"argv":["true"]}}`:                                       "give one of cron, every and at",
		`{"name":"x","every":"5m","until":"2020-01-01T00:00:00Z","task":{"argv":[]}}`: "is over before it begins",
		`{"name":"x","every":"5m","colour":"red"}`:                                    "colour",
	} {
		if res, text := w.do("POST", "/api/v1/schedules", body, bearer(t, auth.ScopeRun)); res.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	if all, err := w.fleet.Client().Schedules(rig.Within(t, time.Minute)); err != nil || len(all) != 0 {
		t.Errorf("something was stored: %v %v", all, err)
	}
}

// What a schedule would do is told before it is stored, as what is wrong with it is.
func TestScheduleCheck(t *testing.T) {
	w := open(t)
	check := func(name, body string) (int, string) {
		res, text := w.do("POST", "/api/v1/schedules/"+name+"/check", body, bearer(t, auth.ScopeRead))
		return res.StatusCode, text
	}
	code, text := check("x", `{"cron":"0 3 * * *","tz":"Europe/Berlin","task":{"argv":["true"]}}`)
	var one scheduleJSON
	if err := json.Unmarshal([]byte(text), &one); err != nil || code != 200 || len(one.Next) != 5 || one.Next[0].Minute() != 0 {
		t.Errorf("%d %s", code, text)
	}
	if code, text = check("x", `{"every":"5m","task":{"argv":["true"]}}`); code != 200 || strings.Count(text, ":00Z")+strings.Count(text, "Z\"") < 5 {
		t.Errorf("an interval: %d %s", code, text)
	}
	for body, want := range map[string]string{
		`{"cron":"61 3 * * *","task":{"argv":["true"]}}`:                    "61",
		`{"cron":"0 3 * * *","tz":"Mars/Olympus","task":{"argv":["true"]}}`: "Mars/Olympus",
		`{"every":"1ms","task":{"argv":["true"]}}`:                          "second",
		`{"every":"5m"}`: "task is missing",
		`{"at":"2020-01-01T00:00:00Z","task":{"argv":["true"]}}`:              "is in the past",
		`{"every":"5m","all":true,"where":"cpus >","task":{"argv":["true"]}}`: "where",
		`{"every":"5m","overlap":"maybe","task":{"argv":["true"]}}`:           "skip, allow or replace",
		`{"every":"5m","name":"y","colour":"red"}`:                            "colour",
	} {
		if code, text := check("x", body); code != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, code, text)
		}
	}
	if code, text := check("a%20b", `{"every":"5m","task":{"argv":["true"]}}`); code != 400 || !strings.Contains(text, "name:") {
		t.Errorf("a bad name: %d %s", code, text)
	}
	if all, err := w.fleet.Client().Schedules(rig.Within(t, time.Minute)); err != nil || len(all) != 0 {
		t.Errorf("something was stored: %v %v", all, err)
	}
}

// A schedule whose last tick is over is listed, and says so.
func TestScheduleThatIsOver(t *testing.T) {
	w := open(t)
	c := w.fleet.Client()
	until := time.Now().Add(6 * time.Second)
	def := client.ScheduleOf(&pb.Schedule{Name: "brief", Every: "1h", Until: timestamppb.New(until), Task: &pb.Task{Argv: []string{"true"}}})
	if _, err := c.PutSchedule(rig.Within(t, time.Minute), def); err != nil {
		t.Fatal(err)
	}
	var one scheduleJSON
	rig.Eventually(t, "it is over", func() bool {
		w.send("GET", "/api/v1/schedules/brief", "", &one)
		return one.Over && len(one.Next) == 0
	})
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
