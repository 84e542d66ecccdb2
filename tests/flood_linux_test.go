package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// flood is how much is asked at once, and what a run may take meanwhile: in
// earnest on a quiet machine, with tenfold slack on any.
type flood struct {
	atOnce, runs int
	p99          time.Duration
	memoryMiB    int
}

func floodSize() flood {
	f := flood{atOnce: 5000, runs: 20, p99: 10 * time.Second, memoryMiB: 1000}
	if os.Getenv("RUNNEL_LONG") != "" {
		f.runs, f.p99, f.memoryMiB = 200, 250*time.Millisecond, 100
	}
	return f
}

// While a fleet's only runner is asked for 5,000 glances at once, again and again,
// every one of them gets an answer, runs start and end as ever, an abort is
// answered, and the runner's memory stays what it was.
func TestFloodOfGlances(t *testing.T) {
	want := floodSize()
	server := newProcess(t, "server", processConfig{Port: rig.FreePort(t)})
	url, seed := fmt.Sprintf("nats://127.0.0.1:%d", server.cfg.Port), filepath.Join(server.cfg.DataDir, "user.nk")
	runner := newProcess(t, "a", processConfig{Runner: "a", URL: url, SeedFile: seed})
	asking := newFlooder(t, url, seed)
	c, err := client.New(dialed(t, url, seed), client.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	run := func() time.Duration {
		began := time.Now()
		outcome, err := c.Run(t.Context(), client.Target{On: "a"}, &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"true"}}}}, client.RunEvents{})
		if err != nil {
			t.Fatalf("%v, outcome %+v\n%s", err, outcome, runner.tail())
		}
		return time.Since(began)
	}
	for range 5 {
		run()
	}
	idle := memoryMiB(t, runner)
	stop := make(chan struct{})
	var flooding sync.WaitGroup
	var rounds atomic.Int64
	flooding.Go(func() {
		for t.Context().Err() == nil {
			select {
			case <-stop:
				return
			default:
			}
			asking.round(want.atOnce)
			rounds.Add(1)
		}
	})
	var took []time.Duration
	most := 0
	for len(took) < want.runs || rounds.Load() < 3 {
		took = append(took, run())
		most = max(most, memoryMiB(t, runner))
	}
	began := time.Now()
	if _, err := c.Abort(t.Context(), "nosuch", 0); client.Code(err) != 404 {
		t.Errorf("abort: got %v", err)
	}
	aborted := time.Since(began)
	close(stop)
	flooding.Wait()
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("%d rounds of %d: %d answers, %d refusals; %d runs, median %s, p99 %s; abort %s; memory %d MiB idle, %d at most",
		rounds.Load(), want.atOnce, asking.answered.Load(), asking.busy.Load(), len(took), took[len(took)/2], p99, aborted, idle, most)
	if p99 > want.p99 || aborted > want.p99 {
		t.Errorf("a run took %s (p99), an abort %s, want %s at most", p99, aborted, want.p99)
	}
	if most > idle+want.memoryMiB {
		t.Errorf("the runner grew from %d to %d MiB", idle, most)
	}
	if asking.other.Load() > 0 || asking.answered.Load() == 0 {
		t.Errorf("%d answers, %d refusals, %d others", asking.answered.Load(), asking.busy.Load(), asking.other.Load())
	}
}

func newProcess(t *testing.T, name string, cfg processConfig) *process {
	t.Helper()
	cfg.DataDir = t.TempDir()
	p := &process{name: name, cfg: cfg, log: filepath.Join(t.TempDir(), "log")}
	if err := p.start(); err != nil {
		t.Fatalf("%v\n%s", err, p.tail())
	}
	t.Cleanup(p.kill)
	return p
}

func dialed(t *testing.T, url, seed string) *nats.Conn {
	t.Helper()
	nc, err := dialSite(url, seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// memoryMiB is what a process has in memory now.
func memoryMiB(t *testing.T, p *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// flooder asks for many glances at once and takes the answers.
type flooder struct {
	t                     *testing.T
	nc                    *nats.Conn
	inbox                 string
	answers               chan struct{}
	answered, busy, other atomic.Int64
}

func newFlooder(t *testing.T, url, seed string) *flooder {
	f := &flooder{t: t, nc: dialed(t, url, seed), inbox: nats.NewInbox(), answers: make(chan struct{}, 1<<16)}
	sub, err := f.nc.Subscribe(f.inbox+".*", func(m *nats.Msg) {
		switch m.Header.Get("Nats-Service-Error-Code") {
		case "":
			f.answered.Add(1)
		case "429":
			f.busy.Add(1)
		default:
			f.other.Add(1)
		}
		f.answers <- struct{}{}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// round sends n requests and returns when each has its answer.
func (f *flooder) round(n int) {
	const glance = `{"kind":"runner","spec":{"glance":{"sys":{"enable":true},"dir":{"path":"/etc"}}}}`
	for i := range n {
		if err := f.nc.PublishRequest("runner.glance.at.a", fmt.Sprintf("%s.%d", f.inbox, i), []byte(glance)); err != nil {
			f.t.Error(err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	for i := range n {
		select {
		case <-f.answers:
		case <-ctx.Done():
			f.t.Errorf("%d of %d glances got an answer", i, n)
			return
		}
	}
}
