package roles_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/roles"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// seldom are the lines of a runner that only a crash, a conflict or a load need.
var seldom = []string{"runner.schedule.gap.", "runner.schedule.def.", "runner.schedule.fired.all.", "runner.schedule.tell", "runner.queue.work.*.normal.", "$JS.API.STREAM.MSG.DELETE.RUNNER_QUEUE", "$JS.API.STREAM.INFO.KV_runner_queue", "$JS.API.STREAM.INFO.RUNNER_QUEUE", "$JS.API.CONSUMER.INFO.RUNNER_QUEUE.", "$JS.API.CONSUMER.CREATE.RUNNER_QUEUE.", "$JS.API.CONSUMER.MSG.NEXT.RUNNER_QUEUE.", "$JS.ACK.RUNNER_QUEUE.", "$KV.runner_queue.", "$JS.API.CONSUMER.DELETE.KV_runner_", "$JS.API.DIRECT.GET.KV_runner_", "$JS.API.STREAM.INFO.KV_runner_index", "$JS.API.DIRECT.GET.KV_runner_index", "$KV.runner_index.", "$JS.FC.", "$JS.API.STREAM.MSG.GET.", "$JS.API.DIRECT.GET.KV_runner_runs", "$JS.API.CONSUMER.CREATE.KV_runner_fleet.", "$JS.API.CONSUMER.MSG.NEXT.KV_runner_"}

// Each role does all that it is for, is refused nothing meanwhile, and needs
// every line of its list.
func TestEveryUseWorks(t *testing.T) {
	s := newSite(t)
	used := s.wiretap()
	s.runner("web1")
	s.runner("db1")
	s.waits("olga")
	tom, olga, vera, ann := s.as("tom"), s.as("olga"), s.as("vera"), s.as("ann")
	tom.runs(client.Target{Pool: "web"}, "tom-1")
	olga.runs(client.Target{}, "olga-1")
	olga.runs(client.Target{On: "db1"}, "olga-2")
	for _, p := range []*person{tom, olga, vera, ann} {
		p.reads("tom-1")
	}
	for _, p := range []*person{olga, vera, ann} {
		p.looks()
	}
	ctx := rig.Within(t, rig.Patience)
	for _, p := range []*person{tom, olga} {
		all, err := p.client().RunAll(ctx, client.Target{Pool: "web"}, &pb.TaskRequest{
			Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"echo", "x"}}},
		}, client.RunAllOptions{})
		if err != nil || len(all.OK) != 1 || !all.Outcomes["web1"].OK() {
			t.Errorf("%s runs on all of the pool: %+v, %v", p.name, all, err)
		}
		run, err := p.client().Start(ctx, client.Target{Pool: "web"}, &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"sleep", "1000"}}}})
		if err != nil {
			t.Fatal(err)
		}
		if run, err = p.client().Abort(ctx, run.GetId(), rig.Patience); err != nil || run.GetState() != pb.State_ABORTED {
			t.Errorf("%s aborts: %v, %v", p.name, run, err)
		}
	}
	if _, _, err := olga.client().ClockAll(ctx, client.Target{}, &pb.ClockQuery{}, client.FanOptions{}); err != nil {
		t.Errorf("olga compares clocks: %v", err)
	}
	if err := ann.client().Remove(ctx, "tom-1"); err != nil {
		t.Errorf("ann removes a run: %v", err)
	}
	s.pipelines()
	s.queue()
	s.gateway()
	s.schedules()
	for _, user := range users {
		list, err := roles.For(space(t), user)
		if err != nil {
			t.Fatal(err)
		}
		if user.Role == roles.Engine { // it has all of a runner's, and is none here
			list.Publish = slices.DeleteFunc(list.Publish, func(l roles.Line) bool {
				return strings.Contains(l.Why, "runner") || !strings.Contains(l.Subject+l.Why, "job") && !strings.Contains(l.Subject, "_pipelines")
			})
		}
		for _, line := range list.Publish {
			rare := (user.Role == roles.Runner || user.Role == roles.Engine || user.Role == roles.Gateway && (strings.Contains(line.Subject, ".FC.") || strings.Contains(line.Subject, "CONSUMER.DELETE"))) && slices.ContainsFunc(seldom, func(s string) bool { return strings.HasPrefix(line.Subject, s) })
			if user.Role != roles.Admin && !rare && !used(user.Name, line.Subject) {
				t.Errorf("%s: nobody needs %s (%s)", user.Name, line.Subject, line.Why)
			}
		}
	}
}

// What gives power over others is refused to every role but the admin's.
func TestNothingMoreIsAllowed(t *testing.T) {
	s := newSite(t)
	s.runner("web1")
	js := rig.JetStream(t, s.as("ann").Conn)
	_, err := js.CreateConsumer(t.Context(), "RUNNER_LOG", jetstream.ConsumerConfig{Durable: "victim"})
	if err != nil {
		t.Fatal(err)
	}
	mirror, err := json.Marshal(jetstream.StreamConfig{Name: "EVIL", Subjects: []string{"evil"}, RePublish: &jetstream.RePublish{Source: "evil", Destination: "runner.log.web1.x"}})
	if err != nil || len(mirror) == 0 {
		t.Fatal(err)
	}
	everybody := []*person{s.as("vera"), s.as("tom"), s.as("olga"), s.as("db1")}
	for _, p := range everybody {
		p.mayNot(
			"runner.log.web1.x", "$KV.runner_fleet.web1",
			"$JS.API.STREAM.CREATE.EVIL", "$JS.API.STREAM.UPDATE.RUNNER_LOG", "$JS.API.STREAM.PURGE.RUNNER_LOG",
			"$JS.API.STREAM.DELETE.RUNNER_LOG", "$JS.API.STREAM.MSG.DELETE.RUNNER_LOG", "$JS.API.STREAM.SNAPSHOT.RUNNER_LOG",
			"$JS.API.STREAM.RESTORE.EVIL", "$JS.API.STREAM.LEADER.STEPDOWN.RUNNER_LOG", "$JS.API.STREAM.DELETE.KV_runner_runs",
			"$JS.API.CONSUMER.DELETE.RUNNER_LOG.victim", "$JS.API.CONSUMER.DURABLE.CREATE.RUNNER_LOG.victim",
			"$JS.API.CONSUMER.PAUSE.RUNNER_LOG.victim", "$JS.API.CONSUMER.NAMES.RUNNER_LOG", "$JS.API.CONSUMER.LIST.RUNNER_LOG",
			"$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.PURGE.x", "$JS.ACK.RUNNER_LOG.victim.1.1.1.1.1",
			"$SYS.REQ.SERVER.PING", "_INBOX.x.y", "_INBOX_ann.x", "acme.task.any",
		)
		p.mayNotHear(">", "_INBOX.>", "_INBOX_ann.>", "_INBOX_*.>", "*.>", "$JS.EVENT.>", "$SYS.>", "$KV.>", "$JS.API.>")
	}
	vera, tom, olga, db1 := everybody[0], everybody[1], everybody[2], everybody[3]
	for _, p := range []*person{vera, tom, olga} {
		p.mayNot("$KV.runner_runs.x")
		p.mayNotHear("runner.task.any", "runner.task.at.web1", "runner.*.any", "$SRV.>", "$SRV.PING")
	}
	for _, p := range []*person{vera, tom} {
		p.mayNot("runner.schedule.any", "runner.schedule.def.x", "runner.schedule.fired.any.web.x", "runner.schedule.fired.all.web.x", "$JS.API.STREAM.PURGE.RUNNER_SCHEDULE")
	}
	vera.mayNot("runner.task.any", "runner.task.at.web1", "runner.abort.any", "runner.maint.any")
	tom.mayNot("runner.task.any", "runner.task.all", "runner.task.at.web1", "runner.task.pool.db.any", "runner.maint.all", "runner.glance.at.web1")
	for _, p := range []*person{vera, tom, db1} {
		p.mayNot("runner.pipeline.any", "$KV.runner_pipelines.lease", "$KV.runner_jobs.x")
	}
	db1.mayNot("runner.task.any", "runner.task.at.db1", "runner.task.at.web1", "runner.maint.all", "runner.query.any")
	db1.mayNotHear("runner.task.at.web1", "runner.task.any", "runner.task.pool.web.any", "runner.task.>")
	gate := s.as("gate1")
	gate.mayNot(
		"runner.log.web1.x", "$KV.runner_fleet.web1", "$KV.runner_jobs.x", "$KV.runner_pipelines.lease", "$JS.API.STREAM.PURGE.RUNNER_QUEUE",
		"$JS.API.STREAM.CREATE.EVIL", "$JS.API.STREAM.PURGE.RUNNER_LOG", "$JS.API.STREAM.DELETE.KV_runner_gateway", "$JS.API.STREAM.MSG.DELETE.RUNNER_LOG",
		"$JS.API.CONSUMER.DELETE.RUNNER_LOG.victim", "$JS.API.CONSUMER.DURABLE.CREATE.RUNNER_LOG.victim", "$SYS.REQ.SERVER.PING", "_INBOX_ann.x",
		"$JS.API.CONSUMER.DELETE.KV_runner_queue.x",
	)
	gate.mayNotHear(">", "_INBOX.>", "_INBOX_ann.>", "runner.task.any", "runner.task.at.web1", "$SRV.PING", "$KV.>")
	if _, err := js.Consumer(t.Context(), "RUNNER_LOG", "victim"); err != nil {
		t.Errorf("the consumer is gone: %v", err)
	}
}

// A runner answers where it was asked from, and nowhere else.
func TestRepliesReachTheirInbox(t *testing.T) {
	s := newSite(t)
	s.runner("web1")
	for _, name := range []string{"vera", "olga"} {
		reply, err := s.as(name).Request("runner.glance.at.web1", []byte(`{"kind":"runner","spec":{"glance":{}}}`), rig.Patience)
		if err != nil || reply.Header.Get("Nats-Service-Error") != "" {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
	}
}

// The lists of a prefix have nothing of another one.
func TestListsOfAPrefix(t *testing.T) {
	acme, err := subjects.New("acme.east")
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range roles.All() {
		list, err := roles.For(acme, roles.User{Name: "x", Role: role})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range append(list.Publish, list.Subscribe...) {
			if line.Why == "" {
				t.Errorf("%s: %s has no reason", role, line.Subject)
			}
			for _, foreign := range []string{"runner.", "RUNNER_", "runner_", "$JS.API.>"} {
				if strings.HasPrefix(line.Subject, foreign) && role != roles.Admin {
					t.Errorf("%s has %s", role, line.Subject)
				}
			}
		}
	}
	for _, bad := range []roles.User{{Name: "", Role: roles.Viewer}, {Name: "a.b", Role: roles.Viewer}, {Name: "x"}, {Name: "x", Role: "god"}, {Name: "x", Role: roles.Task, Pools: []string{"*"}}} {
		if _, err := roles.For(acme, bad); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
}
