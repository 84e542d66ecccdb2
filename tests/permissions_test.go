package tests

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// The example of docs/subjects.md works as it is: a runner runs with what it is
// given there, and everybody can do what is said of them and no more.
func TestPermissionsOfTheDocs(t *testing.T) {
	url := serverOfTheDocs(t)
	runner := user(t, url, "web1")
	s, err := service.Start(t.Context(), runner.Conn, service.Config{
		OnDemand: true,
		Name:     "web1", Pools: []string{"web"}, DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	const task = `{"kind":"runner","metadata":{"id":"perm-1"},"spec":{"task":{"commands":["echo hello; sleep 0.1; seq 1000"]}}}`
	const end = `{"kind":"runner","spec":{"query":{"runs":["perm-1"],"states":["COMPLETE"],"wait":"5s"}}}`
	const glance = `{"kind":"runner","spec":{"glance":{}}}`

	deployer, watcher, operator := user(t, url, "deployer"), user(t, url, "watcher"), user(t, url, "operator")
	deployer.may("runner.task.pool.web.any", task)
	deployer.may("runner.query.any", end)
	deployer.mayNot("runner.task.any", task)
	deployer.mayNot("runner.glance.any", glance)
	deployer.mayNot("$JS.API.INFO", "")

	watcher.may("runner.glance.all", glance)
	watcher.may("runner.query.any", end)
	watcher.may("$SRV.INFO.runner", "")
	watcher.mayNot("runner.task.any", task)
	watcher.mayNot("runner.log.web1.perm-1", "forged")
	watcher.mayNot("$KV.runner_runs.perm-1", "forged")
	watcher.readsAll("perm-1")

	operator.may("runner.task.at.web1", `{"kind":"runner","spec":{"task":{"argv":["true"]}}}`)
	operator.may("runner.abort.any", `{"kind":"runner","spec":{"abort":{"run":"perm-1"}}}`)
	operator.may("runner.maint.pool.web.all", `{"kind":"runner","spec":{"maint":{"clock":{"time":1}}}}`)
	operator.mayNot("runner.log.web1.perm-1", "forged")
	operator.readsAll("perm-1")

	pool := client.Target{Pool: "web"}
	deployer.runs(pool, "perm-2")
	operator.runs(client.Target{}, "perm-3")
	for _, p := range []*person{watcher, operator} {
		p.looks("perm-2")
	}
	if _, err := operator.client().Abort(t.Context(), "perm-2", 0); err != nil {
		t.Errorf("operator can't abort: %v", err)
	}

	runner.mayNot("runner.log.db1.x", "forged")
	runner.mayNot("$KV.runner_fleet.db1", "forged")
	runner.mayNot("runner.task.any", task)
	if _, err := runner.SubscribeSync("runner.task.any"); err != nil {
		t.Fatal(err)
	}
	runner.isRefused("a subscription outside the queue group")
}

// client is the library, as the command line uses it.
func (p *person) client() *client.Client {
	p.t.Helper()
	c, err := client.New(p.Conn, client.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// runs has a task run and follows it to its end.
func (p *person) runs(target client.Target, id string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	request := &pb.TaskRequest{
		Kind: pb.Kind, Metadata: &pb.Metadata{Id: id},
		Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{"seq 3; sleep 0.1; seq 4 1000; exit 3"}}},
	}
	said := 0
	outcome, err := p.client().Run(ctx, target, request, client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
		if r.End == nil && !r.Open {
			said++
		}
		return nil
	}})
	if err != nil || !outcome.Log.Verified || outcome.End().ExitCode != 3 || said != 1000 {
		p.t.Errorf("%s runs %s: %d lines, %+v, %v", p.name, id, said, outcome.Log, err)
	}
}

// looks lists the runners, looks at one, and finds and replays a run.
func (p *person) looks(id string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	c := p.client()
	if runners, err := c.Runners(ctx); err != nil || len(runners) != 1 {
		p.t.Errorf("%s: runners %v, %v", p.name, runners, err)
	}
	if fan, err := c.GlanceAll(ctx, client.Target{Pool: "web", All: true}, &pb.Glance{}, client.FanOptions{}); err != nil || len(fan.OK) != 1 {
		p.t.Errorf("%s: looks at %+v, %v", p.name, fan, err)
	}
	run, err := c.Find(ctx, id)
	if err != nil {
		p.t.Fatalf("%s can't find %s: %v", p.name, id, err)
	}
	if again, err := c.Wait(ctx, id); err != nil || again.GetState() != run.GetState() {
		p.t.Errorf("%s waits for %s: %v, %v", p.name, id, again, err)
	}
	if result, err := c.Follow(ctx, run, client.FollowOptions{Live: true}, func(lines.Record) error { return nil }); err != nil || !result.Verified {
		p.t.Errorf("%s replays %s: %+v, %v", p.name, id, result, err)
	}
}

func serverOfTheDocs(t *testing.T) (url string) {
	t.Helper()
	conf := regexp.MustCompile("(?s)```conf\n(.*?)```").FindStringSubmatch(document(t, "subjects.md"))
	if conf == nil {
		t.Fatal("docs/subjects.md has no example")
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(conf[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := natsserver.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.JetStream, opts.StoreDir, opts.NoSigs = "127.0.0.1", -1, true, t.TempDir(), true
	server, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server doesn't start")
	}
	return server.ClientURL()
}

// person is a user of the example, and what the server has refused to them.
type person struct {
	*nats.Conn
	t       *testing.T
	name    string
	refused chan error
}

func user(t *testing.T, url, name string) *person {
	t.Helper()
	p := &person{t: t, name: name, refused: make(chan error, 100)}
	nc, err := nats.Connect(url, nats.UserInfo(name, "change-me"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		p.refused <- err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		select {
		case err := <-p.refused:
			t.Errorf("%s was refused: %v", name, err)
		default:
		}
	})
	p.Conn = nc
	return p
}

func (p *person) may(subject, body string) {
	p.t.Helper()
	if _, err := p.Request(subject, []byte(body), 10*time.Second); err != nil {
		p.t.Errorf("%s may not ask %s: %v", p.name, subject, err)
	}
}

func (p *person) mayNot(subject, body string) {
	p.t.Helper()
	if err := p.Publish(subject, []byte(body)); err != nil {
		p.t.Fatal(err)
	}
	p.isRefused("publishing on " + subject)
}

func (p *person) isRefused(what string) {
	p.t.Helper()
	if err := p.Flush(); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			p.t.Errorf("%s, %s: %v", p.name, what, err)
		}
	case <-time.After(5 * time.Second):
		p.t.Errorf("%s is not refused %s", p.name, what)
	}
}

// readsAll replays a run and reads its record, watches it and reads the cards.
func (p *person) readsAll(run string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	js, err := jetstream.New(p.Conn)
	if err != nil {
		p.t.Fatal(err)
	}
	runs, err := js.KeyValue(ctx, "runner_runs")
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	entry, err := runs.Get(ctx, run)
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	var record struct{ LogStream, LogSubject string }
	if err := json.Unmarshal(entry.Value(), &record); err != nil {
		p.t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(ctx, record.LogStream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{record.LogSubject}})
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	if msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second)); err != nil || msg.Headers().Get("Runner-Seq") != "1" {
		p.t.Fatalf("%s: the log's first message: %v", p.name, err)
	}
	watch, err := runs.Watch(ctx, run)
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	if e := <-watch.Updates(); e == nil || e.Key() != run {
		p.t.Errorf("%s: the watch shows %v", p.name, e)
	}
	if err := watch.Stop(); err != nil {
		p.t.Error(err)
	}
	fleet, err := js.KeyValue(ctx, "runner_fleet")
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	if keys, err := fleet.Keys(ctx); err != nil || len(keys) != 1 {
		p.t.Errorf("%s: cards %v, %v", p.name, keys, err)
	}
}
