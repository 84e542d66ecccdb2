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
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/tests/rig"
)

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
		for _, reader := range []*client.Client{c, s.as("vera").client()} {
			list, err := reader.Schedules(ctx)
			if !slices.ContainsFunc(list, func(one client.Schedule) bool { return one.Name == all }) {
				s.t.Errorf("%s's schedule for all is not listed: %v", name, err)
			}
			_, err = reader.GetSchedule(ctx, all)
			done("it is read", err)
		}
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
