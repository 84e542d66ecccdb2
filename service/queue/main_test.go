package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// childEnv makes the test binary a runner in a process of its own: its
// configuration as JSON.
const childEnv = "RUNNEL_TEST_QUEUE_RUNNER"

func TestMain(m *testing.M) {
	if cfg := os.Getenv(childEnv); cfg != "" {
		if err := beRunner(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child is the configuration of a runner in a process of its own.
type child struct {
	URL, Name, Data string
	Pools           []string
	Slots, Replicas int
	// Server: it is a NATS server; with routes, of a cluster.
	Server      bool
	Port, Route int
	Routes      string
}

// beServer is a NATS server until it is killed.
func beServer(c child) error {
	options := natsserver.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, StoreDir: c.Data, JetStream: true, NoLog: true, NoSigs: true,
	}
	if c.Routes != "" {
		options.Cluster = natsserver.ClusterOpts{Name: "chaos", Host: "127.0.0.1", Port: c.Route}
		options.Routes = natsserver.RoutesFromStr(c.Routes)
	}
	s, err := natsserver.NewServer(&options)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(rig.Patience * 3) {
		return errors.New("the server doesn't start")
	}
	fmt.Println("ready")
	select {}
}

func beRunner(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	if c.Server {
		return beServer(c)
	}
	nc, err := nats.Connect(c.URL, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		return err
	}
	s, err := service.Start(context.Background(), nc, quick(service.Config{
		Name: c.Name, DataDir: c.Data, Pools: c.Pools, Settings: service.Settings{Slots: c.Slots}, OnDemand: true, Replicas: c.Replicas,
	}))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	s.Close()
	return nil
}

// quick has lost runners found, and work delivered again, soon.
func quick(cfg service.Config) service.Config {
	cfg.CardInterval, cfg.OfflineAfter, cfg.LostAfter = 100*time.Millisecond, 2*time.Second, 2*time.Second
	cfg.QueueAckWait = 2 * time.Second
	cfg.NoCgroup = true
	return cfg
}

// world is a fleet with a queue, as a stranger with a NATS client sees it.
type world struct {
	t       *testing.T
	connect func() *nats.Conn
	url     string // of a server that processes can reach
	nc      *nats.Conn
	js      jetstream.JetStream
	c       *client.Client
}

func newWorld(t *testing.T, configs ...service.Config) *world {
	t.Helper()
	f := fleet.New(t)
	return newWorldWith(t, func() *nats.Conn { return f.Conn() }, configs...)
}

// newSite is a world that processes can reach.
func newSite(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, rig.Start(t, natsserver.Options{}).ClientURL())
}

func newWorldAt(t *testing.T, url string) *world {
	t.Helper()
	w := newWorldWith(t, func() *nats.Conn { return rig.Dial(t, url) })
	w.url = url
	return w
}

// process starts a runner in a process of its own.
func (w *world) process(c child) *rig.Process {
	w.t.Helper()
	c.URL = w.url
	if c.Data == "" {
		c.Data = w.t.TempDir()
	}
	p := start(w.t, c)
	p.Says("ready")
	return p
}

// start starts a process as it is configured.
func start(t *testing.T, c child) *rig.Process {
	t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(body))
	return rig.Run(t, cmd)
}

func newWorldWith(t *testing.T, connect func() *nats.Conn, configs ...service.Config) *world {
	t.Helper()
	w := &world{t: t, connect: connect, nc: connect(), c: fleet.Client(t, connect())}
	w.js = rig.JetStream(t, w.nc)
	for _, cfg := range configs {
		w.start(cfg)
	}
	return w
}

// start starts a runner here.
func (w *world) start(cfg service.Config) *service.Service {
	w.t.Helper()
	return fleet.Runner(w.t, w.connect(), quick(cfg))
}

// put stores work that is a shell's text, with more of the task.
func (w *world) put(id, command string, more ...func(*client.Work)) {
	w.t.Helper()
	item := client.Work{Task: &pb.TaskRequest{
		Kind: pb.Kind, Metadata: &pb.Metadata{Id: id},
		Spec: &pb.TaskSpec{Task: &pb.Task{Commands: []string{command}}},
	}}
	for _, change := range more {
		change(&item)
	}
	if _, err := w.c.Enqueue(w.t.Context(), item); err != nil {
		w.t.Fatal(err)
	}
}

// with sets fields of the task by their JSON.
func with(t *testing.T, fields string) func(*client.Work) {
	t.Helper()
	return func(item *client.Work) {
		body, err := pb.MarshalJSON(item.Task.GetSpec().GetTask())
		if err != nil {
			t.Fatal(err)
		}
		var all, more map[string]any
		if err := json.Unmarshal(body, &all); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(fields), &more); err != nil {
			t.Fatal(err)
		}
		for k, v := range more {
			all[k] = v
		}
		if body, err = json.Marshal(all); err != nil {
			t.Fatal(err)
		}
		task := &pb.Task{}
		if err := pb.UnmarshalJSON(body, task); err != nil {
			t.Fatal(err)
		}
		item.Task.Spec.Task = task
	}
}

func in(pool, priority string) func(*client.Work) {
	return func(item *client.Work) { item.Pool, item.Priority = pool, priority }
}

// final waits for a run's end.
func (w *world) final(id string) *pb.Run {
	w.t.Helper()
	var run *pb.Run
	rig.EventuallyIn(w.t, time.Minute, "run "+id+" is final", func() bool {
		var err error
		run, err = w.c.Status(w.t.Context(), id)
		return err == nil && store.Final(run.GetState())
	})
	return run
}

// running waits until a run is.
func (w *world) running(id string) *pb.Run {
	w.t.Helper()
	var run *pb.Run
	rig.EventuallyIn(w.t, time.Minute, "run "+id+" runs", func() bool {
		var err error
		run, err = w.c.Status(w.t.Context(), id)
		return err == nil && run.GetState() == pb.State_RUNNING
	})
	return run
}

// none says that there is no record of a run.
func (w *world) none(id string) {
	w.t.Helper()
	if run, err := w.c.Status(w.t.Context(), id); err == nil {
		w.t.Errorf("run %s: got %s, want no record", id, run)
	}
}

// left is how many messages the stream has.
func (w *world) left() int {
	s, err := w.js.Stream(context.Background(), "RUNNER_QUEUE")
	if err != nil {
		return -1
	}
	return int(s.CachedInfo().State.Msgs)
}

func (w *world) emptied() {
	w.t.Helper()
	rig.EventuallyIn(w.t, time.Minute, "nothing is left in the stream", func() bool { return w.left() == 0 })
}

// want compares what people see of a run's end.
func want(t *testing.T, run *pb.Run, end string) {
	t.Helper()
	got := fmt.Sprintf("%s %s %d attempt %d next %q", run.GetState(), run.GetReason(), run.GetExitCode(), run.GetAttempt(), run.GetNext())
	if got != end {
		t.Errorf("run %s: got %s, want %s (%s)", run.GetId(), got, end, run.GetError())
	}
}

// hog takes messages and says nothing, as a runner that dies at once.
func (w *world) hog(n int) {
	w.t.Helper()
	ctx := rig.Within(w.t, rig.Patience)
	consumer, err := w.js.CreateOrUpdateConsumer(ctx, "RUNNER_QUEUE", jetstream.ConsumerConfig{
		Durable: "work-default-normal", FilterSubject: "runner.queue.work.default.normal.*", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 2 * time.Second, MaxAckPending: -1, MaxDeliver: -1,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	batch, err := consumer.Fetch(n)
	if err != nil {
		w.t.Fatal(err)
	}
	got := 0
	for range batch.Messages() {
		got++
	}
	if got != n {
		w.t.Fatalf("got %d messages, want %d", got, n)
	}
}
