//go:build linux

package tests

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestChaos is a fleet to which everything happens at random: runners are
// killed and started again, stopped for longer than they may be away, the
// server is restarted, clients are cut off; hundreds of runs go on meanwhile.
//
// What is true is told by the tasks themselves, outside Runnel (oracle_test.go).
//
// RUNNEL_CHAOS says how long (8s), RUNNEL_CHAOS_SEED what happens.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	c := newChaos(t)
	clients := c.startClients(4)
	faults := c.startFaults()
	time.Sleep(c.duration) // how long it goes on, as asked
	close(c.calm)
	faults.Wait() // all are back, and nothing happens any more
	close(c.enough)
	clients.Wait()
	c.settle()
	c.check()
	c.stopAll()
	t.Log(c.counts())
}

type chaos struct {
	t        *testing.T
	seed     uint64
	duration time.Duration
	oracle   *oracle
	servers  []*process
	runners  []*process
	pace     pace
	servedAt []string // host:port of each server
	url      string   // of them all
	seedFile string   // what a client needs, if it needs anything

	calm   chan struct{} // closed: no more faults
	enough chan struct{} // closed: no more tasks

	mu       sync.Mutex
	asked    map[string]string // id → kind, of all that were ever asked for
	accepted map[string]bool
	happened map[string]int

	followed, verified, tried atomic.Int64
}

// newChaos has one server and three runners.
func newChaos(t *testing.T) *chaos {
	c := emptyChaos(t, "RUNNEL_CHAOS", 8*time.Second)
	c.pace = hurried
	server := c.process("server", processConfig{Port: rig.FreePort(t)})
	c.servers = []*process{server}
	c.serve(net.JoinHostPort("127.0.0.1", strconv.Itoa(server.cfg.Port)))
	c.seedFile = filepath.Join(server.cfg.DataDir, "user.nk")
	for _, name := range []string{"a", "b", "c"} {
		c.addRunner(name, processConfig{NoCgroup: name == "c"})
	}
	return c
}

// emptyChaos goes on for as long as the environment says.
func emptyChaos(t *testing.T, variable string, duration time.Duration) *chaos {
	c := &chaos{
		t: t, seed: rand.Uint64() >> 32, duration: duration, oracle: newOracle(t),
		calm: make(chan struct{}), enough: make(chan struct{}),
		asked: map[string]string{}, accepted: map[string]bool{}, happened: map[string]int{},
	}
	var err error
	if text := os.Getenv(variable); text != "" {
		if c.duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("RUNNEL_CHAOS_SEED"); text != "" {
		if c.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("RUNNEL_CHAOS_SEED=%d %s=%s", c.seed, variable, c.duration)
	return c
}

func (c *chaos) serve(addresses ...string) {
	c.servedAt = addresses
	c.url = "nats://" + strings.Join(addresses, ",nats://")
}

func (c *chaos) addRunner(name string, cfg processConfig) {
	cfg.Runner, cfg.URL, cfg.SeedFile, cfg.Pace = name, c.url, c.seedFile, c.pace
	c.runners = append(c.runners, c.process(name, cfg))
}

func (c *chaos) process(name string, cfg processConfig) *process {
	c.t.Helper()
	cfg.DataDir = c.t.TempDir()
	p := &process{name: name, cfg: cfg, log: filepath.Join(c.t.TempDir(), "log")}
	if err := p.start(); err != nil {
		c.t.Fatalf("%v\n%s", err, p.tail())
	}
	c.t.Cleanup(func() {
		p.kill()
		if c.t.Failed() {
			c.t.Log(p.tail())
		}
	})
	return p
}

// rng gives each actor its own numbers.
func (c *chaos) rng(actor uint64) *rand.Rand { return rand.New(rand.NewPCG(c.seed, actor)) }

func (c *chaos) happen(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.happened[what]++
}

// pause waits for a random time, and says whether there is more to come.
func pause(rng *rand.Rand, least, most time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(least + time.Duration(rng.Int64N(int64(most-least))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}

// startFaults lets things happen to the server and to each runner.
func (c *chaos) startFaults() *sync.WaitGroup {
	var wg sync.WaitGroup
	for i, r := range c.runners {
		wg.Go(func() { c.trouble(r, c.rng(100+uint64(i)), 200*time.Millisecond, 3*time.Second) })
	}
	wg.Go(func() {
		rng := c.rng(200)
		for pause(rng, time.Second, 5*time.Second, c.calm) {
			c.restart(c.servers[0], rng, time.Second)
		}
	})
	return &wg
}

// restart ends a server in one way or the other and starts it again.
func (c *chaos) restart(server *process, rng *rand.Rand, most time.Duration) {
	if rng.IntN(2) == 0 {
		c.happen("server killed")
		server.kill()
	} else {
		c.happen("server ended")
		if err := server.stop(); err != nil {
			c.t.Errorf("%v\n%s", err, server.tail())
		}
	}
	pause(rng, 0, most, c.calm)
	if err := server.start(); err != nil {
		c.t.Error(err)
	}
}

// trouble lets something happen to a runner after every rest.
func (c *chaos) trouble(r *process, rng *rand.Rand, least, most time.Duration) {
	for pause(rng, least, most, c.calm) {
		switch rng.IntN(5) {
		case 0, 1:
			c.happen("runner stopped for long")
			c.freeze(r, rng, c.pace.LostAfter+300*time.Millisecond, 2*c.pace.LostAfter)
			continue
		case 2:
			c.happen("runner stopped for a moment")
			c.freeze(r, rng, 10*time.Millisecond, c.pace.OfflineAfter)
			continue
		case 3:
			c.happen("runner killed while it was stopped")
			c.freeze(r, rng, 10*time.Millisecond, 2*c.pace.LostAfter)
		}
		c.happen("runner killed")
		r.kill()
		pause(rng, 0, 500*time.Millisecond, c.calm)
		if err := r.start(); err != nil {
			c.t.Errorf("%v\n%s", err, r.tail())
			return
		}
	}
}

func (c *chaos) freeze(r *process, rng *rand.Rand, least, most time.Duration) {
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Error(err)
	}
	pause(rng, least, most, nil) // also when it is calm: it may have been declared dead
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		c.t.Error(err)
	}
}

// startClients lets clients ask for runs, each in a way of its own, over wires
// that are cut now and then.
func (c *chaos) startClients(count int) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i := range count {
		w := newWire(c.t, c.servedAt[i%len(c.servedAt)])
		nc, err := dialSite(w.url(), c.seedFile)
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(nc.Close)
		asks, err := client.New(nc, client.Options{Timeout: time.Second})
		if err != nil {
			c.t.Fatal(err)
		}
		rng := c.rng(300 + uint64(i))
		wg.Go(func() {
			for pause(rng, time.Second, 4*time.Second, c.calm) {
				c.happen("client cut off")
				w.cut()
			}
		})
		for n := range 4 {
			rng := c.rng(400 + uint64(10*i+n))
			wg.Go(func() {
				for k := 0; pause(rng, 0, 60*time.Millisecond, c.enough); k++ {
					c.one(asks, rng, fmt.Sprintf("r%d-%d-%d", i, n, k))
				}
			})
		}
	}
	return &wg
}

// one asks for a run, again and again with the same id until it is accepted, and
// then perhaps follows it, or aborts it, or forgets it.
func (c *chaos) one(asks *client.Client, rng *rand.Rand, id string) {
	kind := kinds[rng.IntN(len(kinds))]
	task := c.oracle.task(id, kind, rng)
	target := client.Target{}
	if rng.IntN(3) == 0 {
		target.On = c.runners[rng.IntN(len(c.runners))].name
	}
	c.mu.Lock()
	c.asked[id] = kind.name
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req := &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: task}}
	if rng.IntN(4) == 0 && kind.ends {
		c.follow(ctx, asks, target, req)
		return
	}
	for try := 0; try < 8; try++ {
		c.tried.Add(1)
		run, err := asks.Start(ctx, target, req)
		if err == nil {
			c.accept(run)
			break
		}
		if !pause(rng, time.Millisecond, 100*time.Millisecond, nil) {
			return
		}
	}
	if !kind.ends || rng.IntN(8) == 0 {
		pause(rng, 0, 500*time.Millisecond, nil)
		_, _ = asks.Abort(ctx, id, 10*time.Millisecond) // who knows where its runner is; what was not heard is aborted at the end
	}
}

func (c *chaos) accept(run *pb.Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted[run.GetId()] = true
}

// follow runs a task and reads its output live: what it is told to be verified
// must be what the task has printed.
func (c *chaos) follow(ctx context.Context, asks *client.Client, target client.Target, req *pb.TaskRequest) {
	id := req.GetMetadata().GetId()
	var text []byte
	c.tried.Add(1)
	outcome, err := asks.Run(ctx, target, req, client.RunEvents{Accepted: c.accept, Record: func(_ *pb.Run, r lines.Record) error {
		if r.End == nil && r.Gap == nil {
			text = append(text, r.Text...)
			if !r.Open {
				text = append(text, '\n')
			}
		}
		return nil
	}})
	if err != nil {
		if ctx.Err() != nil {
			c.t.Errorf("run %s: followed for a minute, without an end: %v", id, err)
		}
		return
	}
	c.followed.Add(1)
	if !outcome.Log.Verified {
		return
	}
	c.verified.Add(1)
	if err := c.oracle.printed(id, text, outcome.OK()); err != nil {
		c.t.Errorf("run %s: what a client was shown: %v", id, err)
	}
}

func (c *chaos) counts() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d runs asked for in %d requests, %d accepted, %d followed (%d verified)", c.seed,
		len(c.asked), c.tried.Load(), len(c.accepted), c.followed.Load(), c.verified.Load())
	for _, what := range slices.Sorted(maps.Keys(c.happened)) {
		fmt.Fprintf(&b, "\n    %s: %d", what, c.happened[what])
	}
	return b.String()
}
