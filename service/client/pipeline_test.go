package client_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// A job from its start to its end, as two clients see it: one that may watch, and
// one with an inbox prefix, which has to ask.
func TestJobsOfAClient(t *testing.T) {
	f := fleet.New(t, service.Config{Name: "web1"})
	engine, err := pipeline.Start(rig.Within(t, rig.Patience), f.Conn(nats.ReconnectBufSize(-1)), pipeline.Config{Name: "web1", Logger: rig.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	ctx := rig.Within(t, rig.Patience)
	clients := map[string]*client.Client{
		"usual":    f.Client(),
		"own role": fleet.Client(t, f.Conn(nats.CustomInboxPrefix("_INBOX_vera"))),
	}
	const text = `{pipelines: {p: {tasks: {a: {script: ["sleep 0.2; exit $CODE"]}}}}}`
	for name, c := range clients {
		applied, err := c.Apply(ctx, text, client.ApplyOptions{Source: "test", Env: map[string]string{"CODE": "0"}})
		if err != nil || len(applied) != 1 {
			t.Fatalf("%s: applied %v, %v", name, applied, err)
		}
		job, err := c.Schedule(ctx, "p", client.ScheduleOptions{User: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var states []bool
		if err := c.WatchJob(ctx, job.GetId(), func(job *pb.Job) error { states = append(states, job.GetCompleted()); return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(states) < 2 || states[0] || !states[len(states)-1] {
			t.Errorf("%s saw %v", name, states)
		}
		enough := errors.New("enough")
		if err := c.WatchJob(ctx, job.GetId(), func(*pb.Job) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("%s, left: %v", name, err)
		}
		if err := c.WatchJob(ctx, "0d3253b8-50e8-4242-ad02-3a7d997d497e", func(*pb.Job) error { return nil }); !errors.Is(err, client.ErrUnknownJob) {
			t.Errorf("%s, of an unknown job: %v", name, err)
		}
		if _, err := c.Schedule(ctx, "nothing", client.ScheduleOptions{}); !errors.Is(err, client.ErrUnknownPipeline) {
			t.Errorf("%s, of an unknown pipeline: %v", name, err)
		}
	}
	c := clients["usual"]
	seen := 0
	for job, err := range c.Jobs(ctx, client.JobsOptions{}) {
		if err != nil || !job.GetCompleted() {
			t.Errorf("got %v, %v", job, err)
		}
		seen++
	}
	if seen != len(clients) {
		t.Errorf("listed %d jobs", seen)
	}
	pipelines, err := c.Pipelines(ctx)
	if err != nil || len(pipelines) != 1 {
		t.Errorf("got %v, %v", pipelines, err)
	}
	if err := c.RemovePipeline(ctx, "p"); err != nil {
		t.Error(err)
	}
	if _, err := c.Pipeline(ctx, "p"); !errors.Is(err, client.ErrUnknownPipeline) {
		t.Errorf("after its removal: %v", err)
	}
}
