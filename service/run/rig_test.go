package run

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// bench is a Runner with a server of its own.
type bench struct {
	*Runner
	t     *testing.T
	nc    *nats.Conn
	ended chan *pb.Run
	lives sync.Map // of those that start has begun: a run's id, and a channel that closes once nothing is left of it
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, nc: rig.Connect(t, rig.Memory(t), nats.ReconnectBufSize(-1)), ended: make(chan *pb.Run, 100)}
	space, err := subjects.New(subjects.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	js := rig.JetStream(t, b.nc)
	if err := logs.EnsureStream(t.Context(), js, space, logs.StreamConfig{}); err != nil {
		t.Fatal(err)
	}
	kept, err := store.Open(t.Context(), js, space, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	host, err := sandbox.Open(sandbox.Config{NoCgroup: true, Prefix: "unit-" + newID() + "-", Logger: rig.Logger(t)})
	if err != nil {
		t.Skip(err)
	}
	table, err := lang.New(lang.Config{Dir: t.TempDir(), Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Name: "web1", Instance: newID(), Space: space, JS: js, Store: kept, Host: host, Languages: table, DataDir: t.TempDir(),
		Slots: 2, Backlog: 2, Environ: os.Environ(), Logger: rig.Logger(t), OnEnd: func(run *pb.Run) { b.ended <- run },
	}
	if change != nil {
		change(&cfg)
	}
	b.Runner = New(cfg)
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// request is one for a task; an empty id means that the runner makes one.
func request(id string, task *pb.Task) *pb.TaskRequest {
	return &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: task}}
}

func noHeaders(string) string { return "" }

func free(*pb.Task) error { return nil }

// start submits a task and returns its record as it was accepted.
func (b *bench) start(id string, task *pb.Task) (*pb.Run, error) {
	b.t.Helper()
	sub, err := b.Submit(request(id, task), noHeaders, Policy{Hold: free})
	if err != nil {
		return nil, err
	}
	ticket, err := b.Admit(false)
	if err != nil {
		return nil, err
	}
	type answer struct {
		run *pb.Run
		err error
	}
	answers, over := make(chan answer, 1), make(chan struct{})
	go func() {
		defer close(over)
		b.Go(ticket, sub, func(run *pb.Run, err error) { answers <- answer{run, err} })
	}()
	got := <-answers
	if got.err == nil {
		b.lives.LoadOrStore(got.run.GetId(), over)
	} else {
		<-over
	}
	return got.run, got.err
}

func (b *bench) mustStart(id string, task *pb.Task) *pb.Run {
	b.t.Helper()
	run, err := b.start(id, task)
	if err != nil {
		b.t.Fatalf("%s: %v", id, err)
	}
	return run
}

// end waits for the next run that ends, and until its place is free: OnEnd tells of it before.
func (b *bench) end() *pb.Run {
	b.t.Helper()
	select {
	case run := <-b.ended:
		if over, ok := b.lives.Load(run.GetId()); ok {
			<-over.(chan struct{})
		}
		return run
	case <-time.After(rig.Patience):
		b.t.Fatal("no run ends")
		return nil
	}
}

func argv(words ...string) *pb.Task { return &pb.Task{Argv: words} }

func shellTask(text string) *pb.Task { return &pb.Task{Commands: []string{text}} }
