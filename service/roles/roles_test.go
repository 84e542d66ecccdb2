package roles_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/roles"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func space(t *testing.T) subjects.Space {
	t.Helper()
	s, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// users of the server of these tests.
var users = []roles.User{
	{Name: "ann", Role: roles.Admin},
	{Name: "olga", Role: roles.Operator},
	{Name: "tom", Role: roles.Task, Pools: []string{"web"}},
	{Name: "vera", Role: roles.Viewer},
	{Name: "sue", Role: roles.Scheduler},
	{Name: "web1", Role: roles.Runner, Pools: []string{"web"}},
	{Name: "db1", Role: roles.Runner, Pools: []string{"db"}},
	{Name: "eng1", Role: roles.Engine, Pools: []string{"eng"}},
	{Name: "gate1", Role: roles.Gateway},
}

// site is a server that permits what the lists say, and its users.
type site struct {
	t      *testing.T
	server *rig.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	var conf strings.Builder
	conf.WriteString("authorization {\n  users = [\n")
	for _, user := range users {
		list, err := roles.For(space(t), user)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&conf, "    {user: %s, password: x, permissions: %s}\n", user.Name, list.Conf("    "))
	}
	// Whoever installs the site: the streams are not a runner's to make.
	conf.WriteString("    {user: setup, password: x}\n  ]\n}\n")
	var options natsserver.Options
	if err := options.ProcessConfigString(conf.String()); err != nil {
		t.Fatalf("%v in\n%s", err, conf.String())
	}
	s := &site{t, rig.Start(t, options)}
	first, err := service.Start(rig.Within(t, rig.Patience), s.as("setup").Conn, service.Config{
		Name: "first", DataDir: t.TempDir(), Logger: rig.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	engine, err := pipeline.Start(rig.Within(t, rig.Patience), s.as("setup").Conn, pipeline.Config{Name: "first", Logger: rig.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	engine.Close()
	space := space(t)
	if _, err := gateway.OpenBucket(rig.Within(t, rig.Patience), rig.JetStream(t, s.as("setup").Conn), space); err != nil {
		t.Fatal(err)
	}
	if err := s.as("ann").client().Forget(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) runner(name string) {
	s.t.Helper()
	fleet.Runner(s.t, s.as(name).Conn, service.Config{Name: name, CardInterval: 100 * time.Millisecond, Pools: []string{map[string]string{"web1": "web", "db1": "db"}[name]}, Logger: rig.Logger(s.t)})
}

// person is a user, and what the server has refused to them.
type person struct {
	*nats.Conn
	t       *testing.T
	name    string
	refused chan error
}

func (s *site) as(name string) *person {
	s.t.Helper()
	p := &person{t: s.t, name: name, refused: make(chan error, 100)}
	s.t.Cleanup(p.nothingRefused) // after the connection was closed
	p.Conn = rig.Dial(s.t, s.server.ClientURL(), nats.UserInfo(name, "x"), nats.CustomInboxPrefix(roles.InboxPrefix(name)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.refused <- err }))
	return p
}

func (p *person) nothingRefused() {
	select {
	case err := <-p.refused:
		p.t.Errorf("%s was refused: %v", p.name, err)
	default:
	}
}

func (p *person) client() *client.Client {
	p.t.Helper()
	return fleet.Client(p.t, p.Conn)
}

// mayNot publishes on each subject and is refused.
func (p *person) mayNot(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		if err := p.Publish(subject, []byte("{}")); err != nil {
			p.t.Fatal(err)
		}
		p.isRefused("publish on " + subject)
	}
}

// mayNotHear subscribes to each subject and is refused.
func (p *person) mayNotHear(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		sub, err := p.SubscribeSync(subject)
		if err != nil {
			p.t.Fatal(err)
		}
		p.isRefused("subscribe to " + subject)
		_ = sub.Unsubscribe()
	}
}

func (p *person) isRefused(what string) {
	p.t.Helper()
	select {
	case err := <-p.refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			p.t.Errorf("%s, %s: %v", p.name, what, err)
		}
	case <-time.After(rig.Patience):
		p.t.Errorf("%s may %s", p.name, what)
	}
}

// runs has a task run and follows it to its end.
func (p *person) runs(target client.Target, id string) {
	p.t.Helper()
	request := &pb.TaskRequest{
		Kind: pb.Kind, Metadata: &pb.Metadata{Id: id},
		Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{"seq 3; sleep 0.1; seq 4 1000; exit 3"}}},
	}
	said := 0
	outcome, err := p.client().Run(rig.Within(p.t, rig.Patience), target, request, client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
		if r.End == nil && !r.Open {
			said++
		}
		return nil
	}})
	if err != nil || !outcome.Log.Verified || outcome.End().ExitCode != 3 || said != 1000 {
		p.t.Errorf("%s runs %s: %d lines, %+v, %v", p.name, id, said, outcome.Log, err)
	}
}

// reads finds, waits for and replays a run, lists and watches the runners.
func (p *person) reads(id string) {
	p.t.Helper()
	ctx := rig.Within(p.t, rig.Patience)
	c := p.client()
	if runners, err := c.Runners(ctx); err != nil || len(runners) != 2 {
		p.t.Errorf("%s: runners %v, %v", p.name, runners, err)
	}
	run, err := c.Find(ctx, id[:len(id)-1])
	if err != nil {
		p.t.Fatalf("%s can't find %s: %v", p.name, id, err)
	}
	if again, err := c.Wait(ctx, id); err != nil || again.GetState() != run.GetState() {
		p.t.Errorf("%s waits for %s: %v, %v", p.name, id, again, err)
	}
	if all, err := c.Query(ctx, &pb.Query{All: true}); err != nil || len(all.GetRuns()) == 0 {
		p.t.Errorf("%s queries: %v, %v", p.name, all, err)
	}
	for _, options := range []client.FollowOptions{{Live: true}, {FromPos: 990}, {Since: run.GetStarted().AsTime()}} {
		if result, err := c.Follow(ctx, run, options, nil); err != nil || result.Problem != nil || result.End == nil {
			p.t.Errorf("%s replays %s: %+v, %v", p.name, id, result, err)
		}
	}
	watching, stop := context.WithCancel(ctx)
	seen := map[string]bool{}
	err = c.WatchRunners(watching, func(r client.Runner) error {
		if seen[r.Card.GetName()] = true; len(seen) == 2 {
			stop()
		}
		return nil
	})
	stop()
	if err != nil || !seen["web1"] || !seen["db1"] {
		p.t.Errorf("%s watches %v, %v", p.name, seen, err)
	}
}

// waits has runs on every runner waited for and aborted by way of the others.
func (s *site) waits(name string) {
	s.t.Helper()
	ctx := rig.Within(s.t, rig.Patience)
	c := s.as(name).client()
	var waiting sync.WaitGroup
	for i := range 8 {
		run, err := c.Start(ctx, client.Target{On: []string{"web1", "db1"}[i%2]}, &pb.TaskRequest{
			Metadata: &pb.Metadata{Id: fmt.Sprint("waited-", i)}, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"sleep", "1000"}}},
		})
		if err != nil {
			s.t.Fatal(err)
		}
		waiting.Go(func() {
			if _, err := c.Wait(ctx, run.GetId()); err != nil {
				s.t.Errorf("%s waits for %s: %v", name, run.GetId(), err)
			}
		})
	}
	if reply, err := c.Query(ctx, &pb.Query{Runs: []string{"waited-0", "waited-1", "waited-2"}}); err != nil || len(reply.GetRuns()) != 3 {
		s.t.Errorf("%s queries: %v, %v", name, reply, err)
	}
	for i := range 8 {
		if _, err := c.Abort(ctx, fmt.Sprint("waited-", i), rig.Patience); err != nil {
			s.t.Errorf("%s aborts: %v", name, err)
		}
	}
	waiting.Wait()
}

func (p *person) looks() {
	p.t.Helper()
	result, err := p.client().GlanceAll(rig.Within(p.t, rig.Patience), client.Target{}, &pb.Glance{Sys: &pb.SysQuery{Enable: true}}, client.FanOptions{})
	if err != nil || len(result.OK) != 2 {
		p.t.Errorf("%s looks at %+v, %v", p.name, result, err)
	}
	for _, subject := range []string{"$SRV.PING.runner", "$SRV.INFO.runner", "$SRV.STATS.runner"} {
		if _, err := p.Request(subject, nil, rig.Patience); err != nil {
			p.t.Errorf("%s: %s: %v", p.name, subject, err)
		}
	}
}

// wiretap collects who publishes on what; whose inbox the reply goes to tells.
func (s *site) wiretap() (used func(user, pattern string) bool) {
	s.t.Helper()
	var mu sync.Mutex
	seen := map[[2]string]bool{}
	if _, err := s.as("setup").Subscribe(">", func(msg *nats.Msg) {
		inbox, _, _ := strings.Cut(msg.Reply, ".")
		mu.Lock()
		defer mu.Unlock()
		seen[[2]string{strings.TrimPrefix(inbox, "_INBOX_"), msg.Subject}] = true
	}); err != nil {
		s.t.Fatal(err)
	}
	return func(user, pattern string) bool {
		mu.Lock()
		defer mu.Unlock()
		for one := range seen {
			if (one[0] == user || one[0] == "") && natsserver.SubjectsCollide(one[1], pattern) {
				return true
			}
		}
		return false
	}
}

// pipelines has an engine run a pipeline that an operator puts in, starts and
// follows.
func (s *site) pipelines() {
	s.t.Helper()
	engine, err := pipeline.Start(rig.Within(s.t, rig.Patience), s.as("eng1").Conn, pipeline.Config{Name: "eng1", Logger: rig.Logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(engine.Close)
	// The wiretap hears every request, so that nobody is told that none is there.
	rig.Eventually(s.t, "the engine leads", engine.Leads)
	c := s.as("olga").client()
	ctx := rig.Within(s.t, rig.Patience)
	const text = `{pipelines: {p: {tasks: {a: {script: ["sleep 0.3"]}, b: {script: ["true"], depends_on: [a]}}}, long: {tasks: {a: {script: ["sleep 1000"]}}}}}`
	if _, err := c.Apply(ctx, text, client.ApplyOptions{Source: "test"}); err != nil {
		s.t.Fatal(err)
	}
	for range 2 {
		job, err := c.Schedule(ctx, "p", client.ScheduleOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		var last *pb.Job
		if err := c.WatchJob(ctx, job.GetId(), func(job *pb.Job) error { last = job; return nil }); err != nil || !last.GetCompleted() {
			s.t.Errorf("olga watches %v, %v", last, err)
		}
		s.cancels(ctx, c)
	}
}

// cancels has a job cancelled whose task runs, so that the engine ends that.
func (s *site) cancels(ctx context.Context, c *client.Client) {
	s.t.Helper()
	job, err := c.Schedule(ctx, "long", client.ScheduleOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	rig.Eventually(s.t, "the task runs", func() bool {
		runs, err := c.Query(ctx, &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}})
		return err == nil && len(runs.GetRuns()) > 0
	})
	if _, err := c.Cancel(ctx, job.GetId(), client.CancelOptions{}); err != nil {
		s.t.Errorf("olga cancels: %v", err)
	}
	rig.Eventually(s.t, "the task has ended", func() bool {
		runs, err := c.Query(ctx, &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}})
		return err == nil && len(runs.GetRuns()) == 0
	})
}

// gateway serves with the rights of its user, and is asked for all that it does.
// The engine must lead.
func (s *site) gateway() {
	s.t.Helper()
	const secret = "sixteen bytes at least"
	g, err := gateway.New(rig.Within(s.t, rig.Patience), s.as("gate1").Conn, gateway.Config{Secret: secret, Logger: rig.Logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(g.Close)
	server := httptest.NewServer(g.Handler())
	s.t.Cleanup(server.Close)
	g.Announce([]string{server.URL})
	token, err := auth.Token(secret, "me", []auth.Scope{auth.ScopeAdmin, auth.ScopeRun, auth.ScopeRead}, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	ask := func(method, path, body string) string {
		s.t.Helper()
		req, err := http.NewRequestWithContext(rig.Within(s.t, rig.Patience), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := server.Client().Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 400 && !strings.Contains(path, "nosuch") {
			s.t.Errorf("the gateway: %s %s: %d %s, %v", method, path, res.StatusCode, text, err)
		}
		return string(text)
	}
	ask("POST", "/api/v1/runs", `{"command":"echo hi","id":"by-gateway","target":{"on":"web1"},"wait":"20s"}`)
	ask("POST", "/api/v1/runs", `{"command":"sleep 1000","id":"to-abort"}`)
	ask("POST", "/api/v1/runs/to-abort/abort", `{}`)
	if text := ask("GET", "/api/v1/runs/by-gateway/log", ""); !strings.Contains(text, "hi") {
		s.t.Errorf("the log: %q", text)
	}
	if text := ask("GET", "/api/v1/runs/by-gateway/events", ""); !strings.Contains(text, "hi") {
		s.t.Errorf("the events: %q", text)
	}
	for _, path := range []string{"/api/v1/runs", "/api/v1/runs?text=echo", "/api/v1/runs/by-gateway", "/api/v1/runners", "/api/v1/runners/web1", "/pipelines", "/pipelines/jobs", "/api/v2/runtimes", "/api/v1/runs/nosuch", "/api/v1/runs/nosuch/log", "/api/v1/glance/sys"} {
		ask("GET", path, "")
	}
	ask("POST", "/pipelines/schedule", `{"pipeline":"p"}`)
	ask("POST", "/api/v1/runners/web1/maint/clock", "{}")
	if link, err := g.Link(rig.Within(s.t, rig.Patience), "me", []auth.Scope{auth.ScopeRead}); err != nil {
		s.t.Errorf("a link: %v", err)
	} else {
		ask("GET", link, "")
	}
}

// schedules has each pool's runner handle fires: of a schedule for one runner whose
// next run replaces the last, and of one for all, in a zone that skips an hour.
func (s *site) schedules() {
	s.t.Helper()
	ctx := rig.Within(s.t, 3*rig.Patience)
	c := s.as("setup").client()
	put := func(name, pool string, all bool) {
		spec := schedule.Spec{Cron: "* * 0-23 * * *", Zone: "Europe/Berlin", Pool: pool, All: all, Overlap: schedule.Replace}
		if _, err := c.PutSchedule(ctx, client.Schedule{Name: name, Spec: spec, Task: &pb.TaskRequest{
			Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"sleep", "1000"}}},
		}}); err != nil {
			s.t.Fatal(err)
		}
	}
	names := map[string]string{"web": "web", "db": "db", "allweb": "web", "alldb": "db"}
	for name, pool := range names {
		put(name, pool, strings.HasPrefix(name, "all"))
	}
	for name := range names {
		rig.EventuallyIn(s.t, 3*rig.Patience, name+" has been replaced twice", func() bool {
			runs, err := c.ScheduleRuns(ctx, name, 100)
			aborted := 0
			for _, r := range runs {
				if r.GetState() == pb.State_ABORTED && r.GetReason() == pb.ReasonAborted {
					aborted++
				}
			}
			return err == nil && aborted >= 2
		})
	}
	for name := range names {
		if err := c.RemoveSchedule(ctx, name); err != nil {
			s.t.Error(err)
		}
	}
	s.scheduleUsers()
	s.pipelineSchedule()
}

// scheduleUsers has those who may do all that there is to schedules, by themselves
// and by a runner.
func (s *site) scheduleUsers() {
	s.t.Helper()
	ctx := rig.Within(s.t, 3*rig.Patience)
	done := func(what string, err error) {
		s.t.Helper()
		if err != nil {
			s.t.Errorf("%s: %v", what, err)
		}
	}
	task := &pb.Task{Argv: []string{"true"}}
	for _, name := range []string{"olga", "sue", "gate1", "ann"} {
		c := s.as(name).client()
		one, all := name+"-one", name+"-all"
		for _, cron := range []string{"30 2 * * *", "* * * * * *"} { // a name is free again at once
			_, err := c.PutSchedule(ctx, client.ScheduleOf(&pb.Schedule{Name: one, Cron: cron, Tz: "Europe/Berlin", Pool: "web", Task: task}))
			done(name+" adds one", err)
			_, err = c.PauseSchedule(ctx, one, name)
			done(name+" pauses", err)
			_, err = c.ResumeSchedule(ctx, one)
			done(name+" resumes", err)
			id, err := c.FireSchedule(ctx, one)
			done(name+" runs one now", err)
			_, err = c.Wait(ctx, id)
			done(name+" waits for it", err)
			rig.EventuallyIn(s.t, 3*rig.Patience, "vera sees its ticks", func() bool {
				list, err := s.as("vera").client().ShownSchedules(ctx)
				return err == nil && slices.ContainsFunc(list, func(m *pb.Schedule) bool {
					last := m.GetLast().GetId()
					return m.GetName() == one && last != "" && (last == id) == strings.HasPrefix(cron, "30")
				})
			})
			done(name+" removes it", c.RemoveSchedule(ctx, one))
		}
		_, err := c.PutSchedule(ctx, client.ScheduleOf(&pb.Schedule{Name: all, Every: "1h", All: true, Pool: "web", Task: task}))
		done(name+" adds one for all", err)
		id, err := c.FireSchedule(ctx, all)
		done(name+" runs one for all now", err)
		rig.Eventually(s.t, "the pool's runner has run it", func() bool {
			run, err := c.Status(ctx, id+"-web1")
			return err == nil && run.GetState() == pb.State_COMPLETE
		})
		if _, err := s.as(name).Request("runner.schedule.any", []byte(`{"kind":"runner","spec":{"schedule":{"remove":{"name":"`+all+`"}}}}`), rig.Patience); err != nil {
			s.t.Errorf("%s has a runner remove it: %v", name, err)
		}
		if _, err := c.GetSchedule(ctx, all); !errors.Is(err, client.ErrUnknownSchedule) {
			s.t.Errorf("%s is left: %v", all, err)
		}
	}
}

// pipelineSchedule has the engine start jobs by the clock. It must lead, and there
// must be schedules.
func (s *site) pipelineSchedule() {
	s.t.Helper()
	ctx := rig.Within(s.t, 3*rig.Patience)
	c := s.as("olga").client()
	const text = `{pipelines: {timed: {schedule: [{every: 1s}]}}}`
	if _, err := c.Apply(ctx, text, client.ApplyOptions{Source: "timed"}); err != nil {
		s.t.Fatal(err)
	}
	rig.EventuallyIn(s.t, 3*rig.Patience, "two ticks have had their jobs", func() bool {
		jobs := 0
		for _, err := range c.Jobs(ctx, client.JobsOptions{Pipeline: "timed"}) {
			if err != nil {
				return false
			}
			jobs++
		}
		return jobs >= 2
	})
	if err := c.RemovePipeline(ctx, "timed"); err != nil {
		s.t.Error(err)
	}
	rig.Eventually(s.t, "its schedule is gone", func() bool {
		left, err := s.as("setup").client().Schedules(ctx)
		return err == nil && len(left) == 0
	})
}

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

// queue uses the durable queue as each role may.
func (s *site) queue() {
	ctx := rig.Within(s.t, rig.Patience)
	put := func(name, id string, more ...string) {
		s.t.Helper()
		argv := append([]string{"sh", "-c", "exit 1"}, more...)
		task := &pb.TaskRequest{Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv, Concurrency: &pb.Concurrency{Key: "k", Max: 9}}}}
		if _, err := s.as(name).client().Enqueue(ctx, client.Work{Pool: "web", Task: task}); err != nil {
			s.t.Errorf("%s puts work into the queue: %v", name, err)
		}
	}
	done := func(name string, err error) {
		s.t.Helper()
		if err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
	}
	put("ann", "work-ann") // makes it
	for _, name := range []string{"tom", "olga", "sue", "gate1"} {
		put(name, "work-"+name)
		run, err := s.as(name).client().Wait(ctx, "work-"+name)
		if err != nil || run.GetExitCode() != 1 {
			s.t.Errorf("%s waits for its work: %s, %v", name, run, err)
		}
	}
	conflict, err := json.Marshal(map[string]any{"kind": "runner", "spec": map[string]any{"task": map[string]any{"argv": []string{"other"}}}})
	done("conflict", err)
	_, err = s.as("ann").Request("runner.queue.work.web.high.work-tom", conflict, rig.Patience)
	done("ann publishes a conflict", err)
	rig.Eventually(s.t, "the conflict is listed", func() bool {
		found, err := s.as("vera").client().QueueConflicts(ctx)
		return err == nil && len(found) == 1
	})
	for _, name := range []string{"olga", "sue", "gate1"} {
		c := s.as(name).client()
		done(name+" pauses", c.Pause(ctx, "web", name))
		put(name, name+"-waits")
		put(name, name+"-aborted")
		for _, reader := range []string{"vera", "tom", "olga", "sue", "gate1"} {
			lines, err := s.as(reader).client().Queue(ctx)
			if err != nil || len(lines) != 1 || lines[0].Waiting != 2 || !lines[0].Paused {
				s.t.Errorf("%s reads the queue: %+v, %v", reader, lines, err)
			}
			waiting := 0
			done(reader+" lists", s.as(reader).client().WaitingWork(ctx, "", func(*pb.Run) bool { waiting++; return true }))
			if waiting != 2 {
				s.t.Errorf("%s lists %d that wait, want 2", reader, waiting)
			}
		}
		_, err := s.as("tom").client().Abort(ctx, name+"-aborted", time.Second)
		done("tom aborts what waits", err)
		remover := "sue"
		if name == "gate1" {
			remover = name
		}
		_, err = s.as(remover).client().Dequeue(ctx, name+"-waits")
		done(remover+" removes what waits", err)
		done(name+" resumes", c.Resume(ctx, "web"))
		_, err = c.Retry(ctx, "work-"+name)
		done(name+" tries again", err)
		_, err = c.Wait(ctx, "work-"+name)
		done(name+" waits for that", err)
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
