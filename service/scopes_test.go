package service_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// three is a fleet of three runners.
func three(t *testing.T) *fleet {
	f := newFleet(t)
	f.start(service.Config{Name: "a", Pools: []string{"web"}, Settings: service.Settings{Labels: map[string]string{"env": "prod"}}})
	f.start(service.Config{Name: "b", Pools: []string{"web", "db"}, Settings: service.Settings{Labels: map[string]string{"env": "test"}}})
	f.start(service.Config{Name: "c", Settings: service.Settings{Labels: map[string]string{"env": "prod"}}})
	return f
}

func names(answers map[string]answer) string {
	return strings.Join(slices.Sorted(maps.Keys(answers)), " ")
}

// nobody fails if a subject has somebody who listens.
func (f *fleet) nobody(subject, body string) {
	f.t.Helper()
	if reply, err := f.nc.Request(subject, []byte(body), time.Minute); err != nats.ErrNoResponders {
		f.t.Errorf("%s is heard: %v, %v", subject, reply, err)
	}
}

// Each verb is heard in its scopes and in no others.
func TestScopes(t *testing.T) {
	f := three(t)
	f.over(f.ask("runner.task.at.a", `{"kind":"runner","metadata":{"id":"over"},"spec":{"task":{"commands":["true"]}}}`).ok(t))
	f.record("over")
	many := map[string]string{"all": "a b c", "pool.web.all": "a b", "pool.db.all": "b", "pool.default.all": "c"}
	one := map[string]string{"any": "a b c", "pool.web.any": "a b", "pool.db.any": "b", "pool.default.any": "c", "at.a": "a", "at.b": "b", "at.c": "c"}
	for verb, body := range verbs {
		for scope, want := range many {
			subject := "runner." + verb + "." + scope
			if verb == "query" || verb == "schedule" || verb == "abort" {
				f.nobody(subject, body)
				continue
			}
			if got := f.askAll(len(strings.Fields(want)), subject, body); names(got) != want {
				t.Errorf("%s: got %s, want %s", subject, names(got), want)
			}
		}
		for scope, want := range one {
			subject := "runner." + verb + "." + scope
			if (verb == "query" || verb == "schedule") && scope != "any" || verb == "abort" && strings.HasPrefix(scope, "pool") {
				f.nobody(subject, body)
				continue
			}
			if got := f.ask(subject, body).ok(t); !strings.Contains(want, got.Header.Get("Runner-Name")) {
				t.Errorf("%s: %s answered", subject, got.Header.Get("Runner-Name"))
			}
		}
		for _, scope := range []string{"at.d", "pool.nosuch.any", "pool.nosuch.all", "", "at", "all.a"} {
			f.nobody(strings.TrimSuffix("runner."+verb+"."+scope, "."), body)
		}
	}
}

func TestWhere(t *testing.T) {
	f := three(t)
	for _, c := range []struct{ scope, where, want, skipped string }{
		{"all", `labels.env == "prod"`, "a c", "b"},
		{"all", `name == "b"`, "b", "a c"},
		{"all", `"db" in pools && cpus >= 1 && os == "linux"`, "b", "a c"},
		{"all", `labels.nosuch == ""`, "a b c", ""},
		{"all", ``, "a b c", ""},
		{"pool.web.all", `labels.env == "prod"`, "a", "b"},
	} {
		for _, header := range []string{"Runner-Where", "runner-where", "RUNNER-WHERE"} {
			all := len(strings.Fields(c.want + " " + c.skipped))
			answers := f.askAll(all, "runner.glance."+c.scope, verbs["glance"], header, c.where, "runner-answer", "Always")
			var skipped []string
			for name, a := range answers {
				if a.at("skipped") == true {
					if string(a.Data) != fmt.Sprintf(`{"runner":%q,"skipped":true}`, name) {
						t.Errorf("got %s", a.Data)
					}
					skipped = append(skipped, name)
					delete(answers, name)
				}
			}
			slices.Sort(skipped)
			if got := strings.Join(skipped, " "); names(answers) != c.want || got != c.skipped {
				t.Errorf("%+v: got %s, skipped %s", c, names(answers), got)
			}
		}
	}
	t.Run("who does not match is silent", func(t *testing.T) {
		g := *f
		g.t = t
		inbox := f.nc.NewInbox()
		sub, err := f.nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		msg := &nats.Msg{Subject: "runner.task.all", Reply: inbox, Data: []byte(verbs["task"]), Header: nats.Header{"Runner-Where": {`name == "b"`}}}
		if err := f.nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
		// Each runner has heard it when it has answered what was asked later.
		g.askAll(3, "runner.task.all", verbs["task"])
		first, err := sub.NextMsg(5 * time.Second)
		if err != nil || first.Header.Get("Runner-Name") != "b" {
			t.Fatalf("got %v, %v", first, err)
		}
		if n, _, err := sub.Pending(); err != nil || n != 0 {
			t.Errorf("%d more answers", n)
		}
	})
	t.Run("it starts nothing where it does not match", func(t *testing.T) {
		g := *f
		g.t = t
		body := `{"kind":"runner","metadata":{"id":"g"},"spec":{"task":{"commands":["true"]}}}`
		g.askAll(3, "runner.task.all", body, "Runner-Where", `name == "b"`, "Runner-Answer", "always")
		for _, name := range []string{"a", "c"} {
			g.refused(404, "unknown run id", "runner.query.any", `{"kind":"runner","spec":{"query":{"runs":["g-`+name+`"]}}}`)
		}
		g.record("g-b")
	})
	bad := []struct{ text, where string }{
		{"selector", `labels.env ==`},
		{"selector", `nosuch == 1`},
		{"selector", `"a string"`},
		{"selector", `1`},
		{"selector", strings.Repeat("(", 100000)},
		{"selector", strings.Repeat("!", 4000)},
		{"selector", `all(1..1000000, all(1..1000000, all(1..1000000, # > 0)))`},
		{"selector", `let a = name; let b = a+a; let c = b+b; len(c) > 0`},
		{"selector", `len(repeat("x", 1000000000)) > 0`},
	}
	for _, c := range bad {
		for _, scope := range []string{"all", "pool.web.all", "any", "pool.web.any", "at.a"} {
			for _, verb := range []string{"task", "glance"} {
				f.refused(400, c.text, "runner."+verb+"."+scope, verbs[verb], "Runner-Where", c.where)
			}
		}
	}
	for _, scope := range []string{"all", "any", "at.a"} {
		f.refused(400, "Runner-Where", "runner.task."+scope, verbs["task"], "Runner-Where", " ")
		f.refused(400, "Runner-Where", "runner.task."+scope, verbs["task"], "Runner-Where", "")
	}
	for _, subject := range []string{"runner.task.any", "runner.task.at.a", "runner.task.pool.web.any", "runner.query.any", "runner.abort.at.a"} {
		f.refused(400, "Runner-Where", subject, verbs[strings.Split(subject, ".")[1]], "Runner-Where", `true`)
	}
}

// An id names one run; on scopes of many it is the group's, and the runs are
// <group>-<runner>.
func TestIDs(t *testing.T) {
	f := three(t)
	body := func(id string) string {
		return `{"kind":"runner","metadata":{"id":"` + id + `"},"spec":{"task":{"commands":["echo"]}}}`
	}
	for _, id := range []string{"a", "A-b_9", strings.Repeat("x", 64), "-", "EOF"} {
		if got := f.ask("runner.task.any", body(id)).ok(t).text("run", "id"); got != id {
			t.Errorf("got id %q, want %q", got, id)
		}
	}
	for _, id := range []string{"a.b", "a b", "*", ">", "a/b", "ä", strings.Repeat("x", 65), `a\n`, `\u0000`} {
		for _, scope := range []string{"any", "all", "at.a"} {
			f.refused(400, "metadata.id", "runner.task."+scope, body(id))
		}
	}
	one := f.ask("runner.task.any", verbs["task"]).ok(t)
	two := f.ask("runner.task.any", verbs["task"]).ok(t)
	if a, b := one.text("run", "id"), two.text("run", "id"); a == b || len(a) != 26 || one.text("run", "group") != "" {
		t.Errorf("got ids %q and %q, group %q", a, b, one.text("run", "group"))
	}
	for _, scope := range []string{"all", "pool.web.all"} {
		runners := map[string]int{"all": 3, "pool.web.all": 2}[scope]
		group := "g-" + strings.ReplaceAll(scope, ".", "-")
		for name, a := range f.askAll(runners, "runner.task."+scope, body(group)) {
			if got := a.ok(t).text("run", "id"); got != group+"-"+name || a.text("run", "group") != group {
				t.Errorf("%s: got id %q, group %q", scope, got, a.text("run", "group"))
			}
			if got := f.over(a); got.end.ExitCode != 0 {
				t.Errorf("got %+v", got)
			}
		}
		groups := map[string]bool{}
		for range 2 {
			made := map[string]bool{}
			for name, a := range f.askAll(runners, "runner.task."+scope, verbs["task"]) {
				group := a.ok(t).text("run", "group")
				if group == "" || a.text("run", "id") != group+"-"+name {
					t.Errorf("%s: got id %q, group %q", scope, a.text("run", "id"), group)
				}
				made[group], groups[group] = true, true
			}
			if len(made) != 1 {
				t.Errorf("%s: one request has made the groups %v", scope, made)
			}
		}
		if len(groups) != 2 {
			t.Errorf("%s: two requests have made the groups %v", scope, groups)
		}
	}
	// Who uses one inbox for all its requests, or none, asks twice, also at once, and
	// each time all runners have one group.
	for _, inbox := range []string{f.nc.NewInbox(), ""} {
		for range 2 {
			for range 3 {
				msg := &nats.Msg{Subject: "runner.task.pool.web.all", Reply: inbox, Data: []byte(`{"kind":"runner","metadata":{"name":"again` + inbox + `"},"spec":{"task":{"argv":["true"]}}}`)}
				if err := f.nc.PublishMsg(msg); err != nil {
					t.Fatal(err)
				}
			}
			f.askAll(3, "runner.glance.all", verbs["glance"]) // it has gone round
		}
		groups := map[string]int{}
		rig.Eventually(f.t, "6 requests have made 12 runs in 6 groups", func() bool {
			clear(groups)
			for _, run := range f.ask("runner.query.any", `{"kind":"runner","spec":{"query":{"all":true,"limit":500}}}`).list("runs") {
				if run := run.(map[string]any); run["name"] == "again"+inbox {
					groups[run["group"].(string)]++
				}
			}
			return len(groups) == 6 && slices.Max(slices.Collect(maps.Values(groups))) == 2
		})
	}
}

// A consumer's deliver subject must not be able to start a task.
func TestConsumerCannotAsk(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "WORK", Subjects: []string{"work"}}); err != nil {
		t.Fatal(err)
	}
	marker := t.TempDir() + "/ran"
	task := `{"kind":"runner","metadata":{"id":"fromjs"},"spec":{"task":{"argv":["touch",` + quote(marker) + `]}}}`
	if _, err := js.Publish("work", []byte(task)); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"runner.task.any", "runner.task.at.web1", "runner.task.all"} {
		config := &nats.ConsumerConfig{Durable: fmt.Sprint("d", i), DeliverSubject: subject, AckPolicy: nats.AckExplicitPolicy}
		if strings.HasSuffix(subject, "any") {
			config.DeliverGroup = "runner"
		}
		if _, err := js.AddConsumer("WORK", config); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(f.t, subject+" has heard the consumer", func() bool {
			info, err := js.ConsumerInfo("WORK", config.Durable)
			return err == nil && info.NumAckPending == 1
		})
		f.ask(subject, `{}`) // it has dealt with what came before
	}
	f.refused(404, "unknown run id", "runner.query.any", `{"kind":"runner","spec":{"query":{"runs":["fromjs"]}}}`)
}

type microInfo struct {
	Name, ID, Version, Description string
	Metadata                       map[string]string
	Endpoints                      []struct {
		Name, Subject string
		QueueGroup    string `json:"queue_group"`
		Metadata      map[string]string
		NumRequests   int `json:"num_requests"`
		NumErrors     int `json:"num_errors"`
		Data          map[string]any
	}
}

func (f *fleet) micro(subject string) (info microInfo) {
	f.t.Helper()
	reply, err := f.nc.Request(subject, nil, time.Minute)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		f.t.Fatal(err)
	}
	return info
}

// "nats service info runner" tells a stranger how to call it: every endpoint,
// and an example of a request that works as it stands.
func TestServiceInfo(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{Pools: []string{"web", "db"}})
	info := f.micro("$SRV.INFO.runner")
	if info.Name != "runner" || info.Version != service.Version || info.Description == "" || info.Metadata["runner"] != "web1" || info.Metadata["pools"] != "db,web" {
		t.Errorf("got %+v", info)
	}
	got := map[string]string{}
	for _, e := range info.Endpoints {
		got[e.Subject] = e.QueueGroup
		for _, key := range []string{"about", "request", "reply"} {
			if e.Metadata[key] == "" {
				t.Errorf("%s has no %q in its metadata", e.Subject, key)
			}
		}
		reply := f.ask(e.Subject, e.Metadata["request"])
		if code := reply.Header.Get("Nats-Service-Error-Code"); code == "400" {
			t.Errorf("%s refuses the example: %s", e.Subject, reply.Data)
		}
		if strings.HasPrefix(e.Subject, "runner.task.") {
			if want := "runner.task.any runner.task.pool.db.any runner.task.pool.web.any"; e.Metadata["any"] != want || e.Metadata["any-queue"] != "runner" {
				t.Errorf("%s: any scopes %q, queue %q", e.Subject, e.Metadata["any"], e.Metadata["any-queue"])
			}
		}
	}
	want := map[string]string{"runner.query.any": "runner", "runner.schedule.any": "runner", "runner.abort.any": "runner", "runner.abort.at.web1": ""}
	for _, verb := range []string{"task", "glance", "maint"} {
		for scope, queue := range map[string]string{
			"at.web1": "", "all": "", "pool.web.all": "", "pool.db.all": "",
			"any": "runner", "pool.web.any": "runner", "pool.db.any": "runner",
		} {
			// The any scopes of task are left when there is no place: micro can't do that.
			if verb != "task" || queue == "" {
				want["runner."+verb+"."+scope] = queue
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got endpoints %v\nwant %v", got, want)
	}
	if pong := f.micro("$SRV.PING.runner"); pong.ID != info.ID {
		t.Errorf("got %+v", pong)
	}
}

// "nats service stats runner" counts requests and errors of each endpoint.
func TestServiceStats(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	for range 3 {
		f.ask("runner.glance.at.web1", verbs["glance"]).ok(t)
	}
	f.refused(400, "", "runner.glance.at.web1", strings.Repeat("x", 1<<19))
	f.ask("runner.task.any", verbs["task"]).ok(t)
	f.refused(400, "", "runner.task.any", `{}`)
	seen := false
	for _, e := range f.micro("$SRV.STATS.runner").Endpoints {
		switch e.Subject {
		case "runner.glance.at.web1":
			if e.NumRequests != 4 || e.Data["requests"] != 4.0 || e.Data["errors"] != 1.0 || !strings.Contains(fmt.Sprint(e.Data["last_error"]), "JSON") {
				t.Errorf("glance: got %+v", e)
			}
		case "runner.glance.all":
			if e.NumRequests != 0 || e.Data["requests"] != 0.0 {
				t.Errorf("glance on all: got %+v", e)
			}
		case "runner.task.at.web1":
			// The any scopes are not endpoints of micro's, see docs/wire.md.
			any, _ := e.Data["any"].(map[string]any)["runner.task.any"].(map[string]any)
			if any["requests"] != 2.0 || any["errors"] != 1.0 || e.Data["requests"] != 0.0 {
				t.Errorf("task: got %+v", e)
			}
			seen = true
		}
	}
	if !seen {
		t.Error("the statistics do not have runner.task.at.web1")
	}
}

// The runner may publish where the caller perhaps may not: a reply subject is
// an inbox, or the request is not served.
func TestReplyIsNoInbox(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	last := func(stream string) uint64 {
		t.Helper()
		info, err := js.StreamInfo(stream)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.LastSeq
	}
	log, runs := last("RUNNER_LOG"), last("KV_runner_runs")
	for verb, body := range verbs {
		for _, reply := range []string{"runner.log.web1.x", "$KV.runner_runs.x", "$JS.API.STREAM.PURGE.RUNNER_LOG", "runner.task.all"} {
			if err := f.nc.PublishRequest("runner."+verb+".any", reply, []byte(strings.Replace(body, "true", "touch /nowhere", 1))); err != nil {
				t.Fatal(err)
			}
		}
		f.ask("runner."+verb+".any", `{}`) // it has heard what came before
	}
	f.ask("runner.query.any", verbs["query"]).ok(t)
	if log != last("RUNNER_LOG") || runs != last("KV_runner_runs") {
		t.Errorf("the log went from %d to %d, the records from %d to %d", log, last("RUNNER_LOG"), runs, last("KV_runner_runs"))
	}
}
