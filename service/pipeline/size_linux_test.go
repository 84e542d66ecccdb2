package pipeline_test

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/tests/rig"
)

// whole: at the size and within the times that the documents promise.
var whole = os.Getenv("RUNNEL_LONG") != ""

func sized(small, large int) int {
	if whole {
		return large
	}
	return small
}

// limit is a time that holds on a quiet machine; elsewhere it has tenfold slack
// and more.
func limit(quiet time.Duration) time.Duration {
	if whole {
		return quiet
	}
	return 30*quiet + 10*time.Second
}

func fastest(t *testing.T, tries int, do func()) time.Duration {
	t.Helper()
	best := time.Hour
	for range tries {
		began := time.Now()
		do()
		best = min(best, time.Since(began))
	}
	return best
}

// Old jobs slow nothing down: not the takeover, nor lists, nor new jobs.
func TestOldJobs(t *testing.T) {
	w := &world{t: t, server: rig.Memory(t)}
	w.runner("r1")
	first := w.start("e1")
	w.client()
	w.apply("pipelines: {p: {tasks: {a: {script: ['true']}}}, q: {tasks: {a: {script: ['true']}}}}")
	newJob := func() { w.end(w.schedule("p", nil).GetId()) }
	newJob() // warm
	before := fastest(t, 5, newJob)
	first.Close()
	storeOldJobs(t, rig.JetStream(t, rig.Connect(t, w.server)), sized(2000, 50_000))

	began := time.Now()
	second := w.start("e2")
	rig.EventuallyIn(t, time.Minute, "the second engine leads", second.Leads)
	took := time.Since(began)
	after := fastest(t, 5, newJob)
	listed := 0
	list := fastest(t, 5, func() {
		listed = 0
		for _, err := range w.c.Jobs(w.ctx(), client.JobsOptions{Page: 1000}) {
			if err != nil {
				t.Fatal(err)
			}
			if listed++; listed == 1000 {
				break
			}
		}
	})
	other := fastest(t, 5, func() {
		for range w.c.Jobs(w.ctx(), client.JobsOptions{Pipeline: "q"}) {
			t.Fatal("a job of a pipeline that has none")
		}
	})
	t.Logf("takeover %s, a job %s (%s before), 1,000 listed %s, an empty list %s", took, after, before, list, other)
	if listed != 1000 {
		t.Errorf("%d listed, want 1000", listed)
	}
	if took > limit(4*time.Second) || list > limit(20*time.Millisecond) || other > limit(10*time.Millisecond) || after > limit(2*before+5*time.Millisecond) {
		t.Errorf("takeover %s, a job %s (%s before), 1,000 listed %s, an empty list %s", took, after, before, list, other)
	}
}

// storeOldJobs writes records of jobs that have ended, as an engine would.
func storeOldJobs(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	ended := time.Now().Add(-time.Hour)
	stored := func() {
		select {
		case <-js.PublishAsyncComplete():
		case <-time.After(2 * time.Minute):
			t.Fatal("the old jobs were not stored")
		}
	}
	for i := range n {
		at := timestamppb.New(ended.Add(time.Duration(i) * time.Millisecond))
		job := &pb.Job{
			Id: uuid.NewString(), Pipeline: "p", Created: at, Start: at, End: at, Completed: true, User: "me", VariablesJson: `{"tag":"v1"}`,
			Tasks: []*pb.JobTask{{Name: "a", Status: "done", Number: 1, Attempt: 1, Start: at, End: at, Runner: "r1"}},
		}
		job.Tasks[0].Runs = []string{job.GetId() + "-1"}
		body, err := pb.MarshalJSON(job)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishAsync("$KV.runner_jobs."+job.GetId(), body); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			stored()
		}
	}
	stored()
}

// Jobs that wait cost no processor time: the process needs what it needed without them.
func TestWaitingJobsCostNothing(t *testing.T) {
	w := open(t, "pipelines: {q: {tasks: {a: {script: [sleep 1000]}}}}")
	w.until(w.schedule("q", nil).GetId(), "running", running("a"))
	window := time.Duration(sized(1, 10)) * time.Second
	before := cpuIn(window)
	began, jobs := time.Now(), sized(200, 1000)
	var wg sync.WaitGroup
	places := make(chan struct{}, 100)
	for range jobs {
		places <- struct{}{}
		wg.Go(func() {
			w.schedule("q", nil)
			<-places
		})
	}
	wg.Wait()
	rate := float64(jobs) / time.Since(began).Seconds()
	after := cpuIn(window)
	rig.EventuallyIn(t, 2*time.Minute, "what their acceptance has left to do is done", func() bool {
		if after > before+window/20 {
			after = cpuIn(window)
		}
		return after <= before+window/20
	})
	t.Logf("%.0f scheduled a second; in %s the process needs %s, %s without %d waiting jobs", rate, window, after, before, jobs)
	if whole && rate < 1000 {
		t.Errorf("%.0f jobs scheduled a second, 1,000 at least", rate)
	}
}

// cpuIn is the processor time that this process needs in a window.
func cpuIn(window time.Duration) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	time.Sleep(window)
	return used() - before
}

// What the engine adds to bare tasks, in one run.
func TestOverhead(t *testing.T) {
	w := &world{t: t, server: rig.Memory(t)}
	w.runner("r1")
	e, err := pipeline.Start(w.ctx(), rig.Connect(t, w.server), pipeline.Config{Name: "e1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	w.client()
	w.apply(trivialPipelines())
	bare := func() {
		req := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{File: &pb.File{Content: []byte("#!/bin/bash\ntrue\n")}}}}
		if _, err := w.c.Run(w.ctx(), client.Target{}, req, client.RunEvents{}); err != nil {
			t.Fatal(err)
		}
	}
	job := func(name string) func() {
		return func() {
			if job := w.end(w.schedule(name, nil).GetId()); job.GetErrored() {
				t.Fatal(show(job))
			}
		}
	}
	tries := sized(2, 30)
	task := fastest(t, tries, bare)
	one, chain, levels := fastest(t, tries, job("one")), fastest(t, tries, job("chain")), fastest(t, tries, job("levels"))
	floor := fastest(t, tries, func() { bareExec(t, []int{4, 4, 4, 4, 4}) })
	t.Logf("a task %s, a job of it %s, 20 in a chain %s, five levels of four %s, %s over os/exec", task, one, chain, levels, levels-floor)
	for what, over := range map[string]struct{ is, most time.Duration }{
		"a job of one task":   {one - task, 10 * time.Millisecond},
		"a chain of 20":       {chain - 20*task, 100 * time.Millisecond},
		"five levels of four": {levels - floor, 40 * time.Millisecond},
	} {
		if over.is > limit(over.most) {
			t.Errorf("%s: %s, %s at most", what, over.is, over.most)
		}
	}
}
