//go:build linux

package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// A runner is lost only after the time that a cluster takes to agree on a leader.
var steady = pace{CardInterval: time.Second, OfflineAfter: 6 * time.Second, LostAfter: 12 * time.Second}

// cluster is three servers in networks of their own, which tests/cluster makes,
// with a runner beside two of them and one with the clients.
type cluster struct {
	*chaos
	network, namespace string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{network: os.Getenv("RUNNEL_CLUSTER_NETWORK"), namespace: os.Getenv("RUNNEL_CLUSTER_NAMESPACE")}
	if c.namespace == "" {
		t.Skip("it needs networks of its own: tests/cluster")
	}
	c.chaos = emptyChaos(t, "RUNNEL_CLUSTER", 2*time.Minute)
	c.pace = steady
	var hosts, addresses []string
	for n := range 3 {
		hosts = append(hosts, fmt.Sprintf("%s.%d", c.network, n+1))
		addresses = append(addresses, net.JoinHostPort(hosts[n], strconv.Itoa(clientPort)))
	}
	for n, host := range hosts {
		node := &nodeConfig{Name: fmt.Sprint("n", n+1), Host: host, Peers: hosts}
		c.servers = append(c.servers, c.process(node.Name, processConfig{Node: node, Namespace: c.beside(n)}))
	}
	c.serve(addresses...)
	for i, name := range []string{"a", "b", "c"} {
		cfg := processConfig{Replicas: 3, NoCgroup: name == "b"}
		if i < 2 {
			cfg.Namespace = c.beside(i)
		}
		c.addRunner(name, cfg)
	}
	c.awaitWhole()
	return c
}

// beside is the namespace of server n, from 0.
func (c *cluster) beside(n int) string { return fmt.Sprintf("%s-%d", c.namespace, n+1) }

// link takes the wire of server n down, or up again.
func (c *cluster) link(n int, state string) {
	if out, err := exec.Command("ip", "link", "set", fmt.Sprint("v", n+1), state).CombinedOutput(); err != nil {
		c.t.Errorf("cannot take the link of server %d %s: %v: %s", n+1, state, err, out)
	}
}

var clusterStreams = []string{"RUNNER_LOG", "KV_runner_runs", "KV_runner_fleet"}

// awaitWhole waits until all replicas of all streams are up to date.
func (c *cluster) awaitWhole() {
	c.t.Helper()
	nc, _ := c.connect()
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		c.t.Fatal(err)
	}
	c.until("all replicas are up to date", time.Minute, func() bool {
		for _, name := range clusterStreams {
			info, err := js.StreamInfo(name)
			if err != nil || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
				return false
			}
			for _, replica := range info.Cluster.Replicas {
				if !replica.Current || replica.Offline {
					return false
				}
			}
		}
		return true
	})
}

// leader is the number, from 0, of the server that leads a stream.
func (c *cluster) leader(nc *nats.Conn, stream string) int {
	js, err := nc.JetStream()
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := js.StreamInfo(stream)
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.IndexFunc(c.servers, func(p *process) bool { return p.name == info.Cluster.Leader })
}

// TestClusterChaos is TestChaos on a cluster, to whose servers and links the
// things happen, one after the other: two of three are always there.
func TestClusterChaos(t *testing.T) {
	c := newCluster(t)
	clients := c.startClients(3)
	faults := c.startClusterFaults()
	time.Sleep(c.duration) // how long it goes on, as asked
	close(c.calm)
	faults.Wait()
	close(c.enough)
	clients.Wait()
	c.awaitWhole()
	c.settle()
	c.check()
	c.stopAll()
	t.Log(c.counts())
}

func (c *cluster) startClusterFaults() *sync.WaitGroup {
	var wg sync.WaitGroup
	for i, r := range c.runners {
		wg.Go(func() { c.trouble(r, c.rng(100+uint64(i)), 2*time.Second, 15*time.Second) })
	}
	wg.Go(func() {
		rng := c.rng(200)
		for pause(rng, time.Second, 6*time.Second, c.calm) {
			n := rng.IntN(len(c.servers))
			switch rng.IntN(4) {
			case 0:
				c.happen("leader told to step down")
				c.stepDown(clusterStreams[rng.IntN(len(clusterStreams))])
				continue
			case 1:
				c.restart(c.servers[n], rng, 5*time.Second)
			case 2:
				c.happen("link cut for a moment")
				c.cut(n, rng, 100*time.Millisecond, 3*time.Second)
			case 3:
				c.happen("link cut for long")
				c.cut(n, rng, c.pace.LostAfter, 2*c.pace.LostAfter)
			}
			c.awaitWhole()
		}
	})
	return &wg
}

func (c *cluster) cut(n int, rng *rand.Rand, least, most time.Duration) {
	c.link(n, "down")
	pause(rng, least, most, nil)
	c.link(n, "up")
}

func (c *cluster) stepDown(stream string) {
	nc, _ := c.connect()
	defer nc.Close()
	// It may have none at this moment.
	_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second)
}

// TestClusterLeaderChange is what clients see when the leader of the stream of all
// logs changes, and for how long. Nothing that was printed may be missing.
func TestClusterLeaderChange(t *testing.T) {
	c := newCluster(t)
	steps := []struct {
		name  string
		fault func(leader int) (mend func())
	}{
		{"told to step down", func(int) func() { c.stepDown("RUNNER_LOG"); return func() {} }},
		{"ended", func(n int) func() {
			if err := c.servers[n].stop(); err != nil {
				t.Error(err)
			}
			return func() { _ = c.servers[n].start() }
		}},
		{"killed", func(n int) func() { c.servers[n].kill(); return func() { _ = c.servers[n].start() } }},
		{"cut off", func(n int) func() { c.link(n, "down"); return func() { c.link(n, "up") } }},
	}
	const rounds, watched = 3, 15 * time.Second
	var table strings.Builder
	fmt.Fprintf(&table, "%-18s  %-16s  %-16s  %-16s\n", "the leader was", "no run accepted", "live lines stood", "no glance")
	for _, step := range steps {
		seen := map[string][]time.Duration{}
		for range rounds {
			watch := c.watch()
			nc, _ := c.connect()
			mend := step.fault(c.leader(nc, "RUNNER_LOG"))
			nc.Close()
			time.Sleep(watched) // how long is watched
			mend()
			c.awaitWhole()
			for what, gap := range watch.end() {
				seen[what] = append(seen[what], gap)
			}
		}
		fmt.Fprintf(&table, "%-18s", step.name)
		for _, what := range []string{"run", "line", "glance"} {
			all := seen[what]
			slices.Sort(all)
			fmt.Fprintf(&table, "  %-16s", fmt.Sprintf("%.1f–%.1f s", all[0].Seconds(), all[len(all)-1].Seconds()))
		}
		fmt.Fprintln(&table)
	}
	t.Logf("longest time without, least and most of %d:\n%s", rounds, table.String())
	c.settle()
	c.stopAll()
}

// watching is clients that note when something went well.
type watching struct {
	c    *cluster
	wg   sync.WaitGroup
	stop chan struct{}
	drip *client.Client
	id   string

	mu   sync.Mutex
	last map[string]time.Time
	gaps map[string]time.Duration
}

// watch starts, with connections of their own, one that asks for runs, one that
// looks at a host, and one that follows a line every 10 ms.
func (c *cluster) watch() *watching {
	c.t.Helper()
	w := &watching{c: c, stop: make(chan struct{}), id: fmt.Sprint("drip-", time.Now().UnixNano()), last: map[string]time.Time{}, gaps: map[string]time.Duration{}}
	again := func(what string, ask func(asks *client.Client) error) {
		nc, err := dialSite(c.url, "")
		if err != nil {
			c.t.Fatal(err)
		}
		asks, err := client.New(nc, client.Options{Timeout: 500 * time.Millisecond})
		if err != nil {
			c.t.Fatal(err)
		}
		w.wg.Go(func() {
			defer nc.Close()
			every := time.NewTicker(20 * time.Millisecond)
			defer every.Stop()
			for {
				if ask(asks) == nil {
					w.well(what)
				}
				select {
				case <-every.C:
				case <-w.stop:
					return
				}
			}
		})
	}
	on := client.Target{On: "c"}
	again("run", func(asks *client.Client) error {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_, err := asks.Start(ctx, on, &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{}, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"true"}}}})
		return err
	})
	again("glance", func(asks *client.Client) error {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_, err := asks.Glance(ctx, on, &pb.Glance{Dir: &pb.DirQuery{Path: "/"}})
		return err
	})
	nc, err := dialSite(c.url, "")
	if err != nil {
		c.t.Fatal(err)
	}
	if w.drip, err = client.New(nc, client.Options{Timeout: 5 * time.Second}); err != nil {
		c.t.Fatal(err)
	}
	began := make(chan struct{})
	var once sync.Once
	c.t.Cleanup(nc.Close)
	w.wg.Go(func() {
		w.follow(on, func() { once.Do(func() { close(began) }) })
	})
	<-began
	return w
}

// follow runs a drip and checks that every line of it comes once, in order.
func (w *watching) follow(on client.Target, began func()) {
	defer began()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	want := 1
	outcome, err := w.drip.Run(ctx, on, &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: w.id}, Spec: &pb.TaskSpec{Task: &pb.Task{
		Argv: []string{"bash", "-c", "for ((i = 1; ; i++)); do echo $i; sleep 0.01; done"}, Grace: "100ms",
	}}}, client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
		if r.End != nil {
			return nil
		}
		w.well("line")
		began()
		if string(r.Text) != strconv.Itoa(want) {
			return fmt.Errorf("line %d is %q", want, r.Text)
		}
		want++
		return nil
	}})
	if err != nil || !outcome.Log.Verified {
		w.c.t.Errorf("%s: followed to line %d: %v, %+v", w.id, want, err, outcome.Log)
	}
}

func (w *watching) well(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if last, ok := w.last[what]; ok {
		w.gaps[what] = max(w.gaps[what], now.Sub(last))
	}
	w.last[what] = now
}

// end is the longest time between two of each.
func (w *watching) end() map[string]time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := w.drip.Abort(ctx, w.id, 2*time.Second); err != nil {
		w.c.t.Errorf("cannot abort %s: %v", w.id, err)
	}
	close(w.stop)
	w.wg.Wait()
	return w.gaps
}
