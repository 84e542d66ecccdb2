package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

func startEngines(t *testing.T) *engines {
	t.Helper()
	server := rig.Start(t, natsserver.Options{})
	e := &engines{t: t, process: map[string]*rig.Process{}, dir: t.TempDir()}
	t.Cleanup(func() {
		for name, p := range e.process {
			if t.Failed() {
				t.Logf("%s: %s", name, p.Output())
			}
		}
	})
	for _, args := range [][]string{{"e1", "--engine"}, {"e2", "--engine"}, {"worker", "--pool", "work"}} {
		cmd := exec.Command(rig.Program(t), append([]string{"serve", "--server", server.ClientURL(), "--data", filepath.Join(e.dir, args[0]), "--name"}, args...)...)
		home := t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "XDG_DATA_HOME="+filepath.Join(home, "data"))
		p := rig.Run(t, cmd)
		p.Says("ready")
		e.process[args[0]] = p
	}
	e.nc = rig.Dial(t, server.ClientURL())
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

// leader is the name of the engine that answers.
func (e *engines) leader() string {
	e.t.Helper()
	req := &pb.PipelineRequest{Kind: pb.Kind, Spec: &pb.PipelineSpec{Pipeline: &pb.PipelineAction{List: &pb.ListPipelines{}}}}
	body, err := pb.Encode(req, false)
	if err != nil {
		e.t.Fatal(err)
	}
	var reply pb.PipelineReply
	space, _ := subjects.New("")
	rig.EventuallyIn(e.t, time.Minute, "an engine answers", func() bool {
		msg, err := e.nc.Request(space.Request(subjects.Pipeline, subjects.Any), body, 5*time.Second)
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

// The engine's process is killed in the middle of jobs: the other one goes on,
// and no task runs twice.
func TestEngineIsKilled(t *testing.T) {
	e := startEngines(t)
	ids := e.schedule(12)
	first := e.leader()
	e.process[first].Kill()
	began := time.Now()
	if second := e.leader(); second == first {
		t.Fatalf("%s leads though it was killed", second)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the takeover took %s", took)
	}
	e.check(ids, "")
}

// An engine that was stopped for longer than its lease is continued while it
// believes that it leads: it changes nothing any more.
func TestEngineIsFenced(t *testing.T) {
	e := startEngines(t)
	first := e.leader()
	ids := e.schedule(8)
	stuck, err := e.c.Schedule(e.ctx(), "stuck", client.ScheduleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.process[first].Signal(syscall.SIGSTOP)
	rig.Eventually(t, "the engine is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.process[first].Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	if second := e.leader(); second == first {
		t.Fatalf("%s answers though it is stopped", second)
	}
	if _, err := e.c.Cancel(e.ctx(), stuck.GetId(), client.CancelOptions{User: "me"}); err != nil {
		t.Fatal(err)
	}
	e.process[first].Signal(syscall.SIGCONT)
	e.check(append(ids, stuck.GetId()), stuck.GetId())
}
