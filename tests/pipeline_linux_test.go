package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// engines are two processes that may run pipelines, and a worker that may not.
type engines struct {
	t       *testing.T
	c       *client.Client
	nc      *nats.Conn
	process map[string]*rig.Process
	dir     string
}

// whole: at the size that the documents promise, on three servers.
var whole = os.Getenv("RUNNEL_LONG") != ""

func startEngines(t *testing.T) *engines {
	t.Helper()
	replicas, url := "1", ""
	if whole {
		var urls []string
		for _, server := range rig.Cluster(t, 3) {
			urls = append(urls, server.ClientURL())
		}
		replicas, url = "3", strings.Join(urls, ",")
	} else {
		url = rig.Start(t, natsserver.Options{}).ClientURL()
	}
	e := &engines{t: t, process: map[string]*rig.Process{}, dir: t.TempDir()}
	t.Cleanup(func() {
		for name, p := range e.process {
			if t.Failed() {
				t.Logf("%s: %s", name, p.Output())
			}
		}
	})
	for _, args := range [][]string{{"e1", "--engine"}, {"e2", "--engine"}, {"worker", "--pool", "work"}} {
		cmd := exec.Command(rig.Program(t), append([]string{"serve", "--server", url, "--replicas", replicas, "--data", filepath.Join(e.dir, args[0]), "--name"}, args...)...)
		home := t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "XDG_DATA_HOME="+filepath.Join(home, "data"))
		p := rig.Run(t, cmd)
		p.Says("ready")
		e.process[args[0]] = p
	}
	e.nc = rig.Dial(t, url)
	var err error
	if e.c, err = client.New(e.nc, client.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err = e.c.Apply(e.ctx(), `
pipelines:
  p:
    concurrency: 4
    tasks:
      a: {script: ['echo {{ .n }}a >> {{ .file }}', 'sleep 0.2'], on: {pool: work}}
      b: {script: ['echo {{ .n }}b >> {{ .file }}'], depends_on: a, on: {pool: work}}
  gated:
    tasks:
      a: {script: ['while [ ! -e {{ .gate }} ]; do sleep 0.05; done'], on: {pool: work}}
      b: {script: ['echo {{ .n }}b >> {{ .file }}'], depends_on: a, on: {pool: work}}
  stuck:
    tasks:
      a: {script: [sleep 1000], on: {pool: work}}
`, client.ApplyOptions{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engines) ctx() context.Context { return rig.Within(e.t, 5*time.Minute) }

// leader is the name of the engine that answers. It asks again and again, and takes
// the answer to any of the requests: one that is sent before the lease is taken over
// is a stopped engine's, which never answers, and so is about every second one later.
func (e *engines) leader() string {
	e.t.Helper()
	req := &pb.PipelineRequest{Kind: pb.Kind, Spec: &pb.PipelineSpec{Pipeline: &pb.PipelineAction{List: &pb.ListPipelines{}}}}
	body, err := pb.Encode(req, false)
	if err != nil {
		e.t.Fatal(err)
	}
	space, _ := subjects.New("")
	answers, err := e.nc.SubscribeSync(e.nc.NewInbox())
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	var reply pb.PipelineReply
	rig.EventuallyIn(e.t, time.Minute, "an engine answers", func() bool {
		if err := e.nc.PublishRequest(space.Request(subjects.Pipeline, subjects.Any), answers.Subject, body); err != nil {
			return false
		}
		msg, err := answers.NextMsg(500 * time.Millisecond)
		return err == nil && pb.DecodeReply(msg.Data, false, &reply) == nil && reply.GetEngine() != ""
	})
	return reply.GetEngine()
}

func (e *engines) schedule(n int) []string {
	e.t.Helper()
	var ids []string
	for i := range n {
		job, err := e.c.Schedule(e.ctx(), "p", client.ScheduleOptions{Variables: map[string]any{"n": i, "file": filepath.Join(e.dir, "ran")}})
		if err != nil {
			e.t.Fatal(err)
		}
		ids = append(ids, job.GetId())
	}
	return ids
}

// check waits for the jobs and compares what has run with what should have.
func (e *engines) check(ids []string, canceled string) {
	e.t.Helper()
	var starts []time.Time
	for _, id := range ids {
		var last *pb.Job
		if err := e.c.WatchJob(e.ctx(), id, func(j *pb.Job) error { last = j; return nil }); err != nil {
			e.t.Fatalf("job %s: %v, last seen %v", id, err, last)
		}
		switch {
		case id == canceled:
			if !last.GetCanceled() || last.GetErrored() {
				e.t.Errorf("the canceled job: %v", last)
			}
		case last.GetErrored() || last.GetCanceled():
			e.t.Errorf("job %s: %v", id, last)
		default:
			starts = append(starts, last.GetStart().AsTime())
		}
	}
	for i := 1; i < len(starts); i++ {
		if starts[i].Before(starts[i-1].Add(-2 * time.Second)) {
			e.t.Errorf("job %d started %s before the one accepted before it", i, starts[i-1].Sub(starts[i]))
		}
	}
	text, err := os.ReadFile(filepath.Join(e.dir, "ran"))
	if err != nil {
		e.t.Fatal(err)
	}
	ran := map[string]int{}
	for _, line := range strings.Fields(string(text)) {
		ran[line]++
	}
	for i, id := range ids {
		if id == canceled {
			continue
		}
		for _, task := range []string{"a", "b"} {
			if got := ran[fmt.Sprint(i, task)]; got != 1 {
				e.t.Errorf("task %s of job %d ran %d times", task, i, got)
			}
		}
	}
}

// order compares the order of acceptance with that of the first tasks. As four
// jobs run at a time, one may be some places off.
func (e *engines) order(jobs int) {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "ran"))
	if err != nil {
		e.t.Fatal(err)
	}
	place := 0
	for _, line := range strings.Fields(string(text)) {
		var n int
		var task string
		if _, err := fmt.Sscanf(line, "%d%s", &n, &task); err != nil || task != "a" || n >= jobs {
			continue
		}
		if off := place - n; off > 8 || off < -8 {
			e.t.Errorf("job %d was the %dth to start", n, place)
		}
		place++
	}
}

// The engine's process is killed in the middle of jobs: the other one goes on,
// no task runs twice, and those that wait keep their order.
func TestEngineIsKilled(t *testing.T) {
	if !whole { // what is measured is measured alone
		t.Parallel()
	}
	jobs, most := 12, time.Minute
	if whole {
		jobs, most = 50, 10*time.Second
	}
	e := startEngines(t)
	ids := e.schedule(jobs)
	first := e.leader()
	rig.EventuallyIn(t, time.Minute, "the second four jobs run", func() bool {
		text, _ := os.ReadFile(filepath.Join(e.dir, "ran"))
		return strings.Count(string(text), "a") >= 6
	})
	e.process[first].Kill()
	began := time.Now()
	if second := e.leader(); second == first {
		t.Fatalf("%s leads though it was killed", second)
	}
	took := time.Since(began)
	t.Logf("another engine went on after %s", took)
	if took > most {
		t.Errorf("the takeover took %s, %s at most", took, most)
	}
	e.check(ids, "")
	e.order(jobs)
}

// An engine that was stopped for longer than its lease is continued while
// requests to schedule and to cancel lie in its socket and a task is about to
// start: it changes nothing any more.
func TestEngineIsFenced(t *testing.T) {
	if !whole {
		t.Parallel()
	}
	e := startEngines(t)
	first := e.leader()
	ids := e.schedule(8)
	stuck, err := e.c.Schedule(e.ctx(), "stuck", client.ScheduleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gate := filepath.Join(e.dir, "gate")
	gated, err := e.c.Schedule(e.ctx(), "gated", client.ScheduleOptions{Variables: map[string]any{"n": 1000, "file": filepath.Join(e.dir, "ran"), "gate": gate}})
	if err != nil {
		t.Fatal(err)
	}
	rig.EventuallyIn(t, time.Minute, "the gated job runs", func() bool {
		job, err := e.c.Job(e.ctx(), gated.GetId())
		return err == nil && job.Task("a").GetStatus() == "running"
	})
	e.stop(first)
	if second := e.leader(); second == first {
		t.Fatalf("%s answers though it is stopped", second)
	}
	if whole {
		time.Sleep(time.Minute) // for as long as the documents say
	}
	// Both engines are in the queue group: some of these are the stopped one's.
	var late []string
	for n := range 20 {
		late = append(late, uuid.NewString())
		e.send(late[n], &pb.PipelineAction{Schedule: &pb.ScheduleJob{
			Pipeline: "p", VariablesJson: fmt.Sprintf(`{"n":%d,"file":%q}`, len(ids)+n, filepath.Join(e.dir, "ran")),
		}})
		e.send("", &pb.PipelineAction{Cancel: &pb.CancelJob{Id: stuck.GetId(), User: "me"}})
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.process[first].Signal(syscall.SIGCONT)
	for n, id := range late { // asked again: each is one job
		job, err := e.c.Schedule(e.ctx(), "p", client.ScheduleOptions{ID: id, Variables: map[string]any{"n": len(ids) + n, "file": filepath.Join(e.dir, "ran")}})
		if err != nil || job.GetId() != id {
			t.Fatalf("job %d of those that were asked for meanwhile: %v", n, err)
		}
	}
	if _, err := e.c.Cancel(e.ctx(), stuck.GetId(), client.CancelOptions{User: "me"}); err != nil {
		t.Fatal(err)
	}
	e.check(slices.Concat(ids, late, []string{stuck.GetId()}), stuck.GetId())
	var last *pb.Job
	if err := e.c.WatchJob(e.ctx(), gated.GetId(), func(j *pb.Job) error { last = j; return nil }); err != nil || last.GetErrored() {
		t.Errorf("the gated job: %v, %v", last, err)
	}
	text, err := os.ReadFile(filepath.Join(e.dir, "ran"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "1000b\n"); got != 1 {
		t.Errorf("the task that was about to start ran %d times", got)
	}
}

// stop stops an engine's process, and returns when it stands.
func (e *engines) stop(name string) {
	e.t.Helper()
	e.process[name].Signal(syscall.SIGSTOP)
	rig.Eventually(e.t, "the engine is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.process[name].Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

// send asks and does not wait for the answer.
func (e *engines) send(id string, action *pb.PipelineAction) {
	e.t.Helper()
	req := &pb.PipelineRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.PipelineSpec{Pipeline: action}}
	body, err := pb.Encode(req, false)
	if err == nil {
		space, _ := subjects.New("")
		err = e.nc.PublishRequest(space.Request(subjects.Pipeline, subjects.Any), e.nc.NewInbox(), body)
	}
	if err != nil {
		e.t.Fatal(err)
	}
}
