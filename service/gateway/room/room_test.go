package room

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// A job is the engine's while it goes on, and the mirror's once it has ended.
func TestJob(t *testing.T) {
	f := fleet.New(t)
	nc := f.Conn()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := rig.Within(t, time.Minute)
	mirror, err := records.NewMirror(ctx, js, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mirror.Close)
	h := &House{Client: f.Client(), Mirror: mirror}
	if err := h.Synced(ctx); err != nil {
		t.Fatal(err)
	}
	e, err := pipeline.Start(ctx, f.Conn(), pipeline.Config{Name: "e1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if _, err := h.Job(ctx, "11111111-1111-1111-1111-111111111111"); !errors.Is(err, client.ErrUnknownJob) {
		t.Errorf("an unknown job: %v", err)
	}
	if _, err := h.Client.Apply(ctx, "pipelines:\n  p:\n    tasks:\n      a: {script: [echo hi]}\n", client.ApplyOptions{Source: "test"}); err != nil {
		t.Fatal(err)
	}
	job, err := h.Client.Schedule(ctx, "p", client.ScheduleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if now, err := h.Job(ctx, job.GetId()); err != nil || now.GetCompleted() || now.GetPipeline() != "p" { // no runner has it
		t.Errorf("while it goes on: %v, %v", now, err)
	}
	if _, err := h.Client.Cancel(ctx, job.GetId(), client.CancelOptions{}); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the mirror has its end", func() bool { return mirror.Ended(job.GetId()) != nil })
	if now, err := h.Job(ctx, job.GetId()); err != nil || !now.GetCanceled() {
		t.Errorf("after its end: %v, %v", now, err)
	}
}

// A gateway that has just started says nothing of pipelines that it has not read.
func TestSynced(t *testing.T) {
	f := fleet.New(t)
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	mirror, err := records.NewMirror(rig.Within(t, time.Minute), js, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mirror.Close)
	<-mirror.Ready()
	h := &House{Mirror: mirror}
	if err := h.Synced(rig.Within(t, time.Minute)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := &House{Mirror: &records.Mirror{}} // it is never ready
	if err := none.Synced(ctx); err == nil || err.Error() != "the pipelines are still being read" {
		t.Errorf("%v", err)
	}
}
