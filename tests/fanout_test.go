package tests

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// crowd is a fleet of which we know who is what: the oracle for a fan-out's lists.
type crowd struct {
	t       *testing.T
	server  *embedded.Server
	client  *client.Client
	healthy []string
	dead    []string // online by their cards, and gone
	other   []string // don't match
	slow    []string // answer late, but in time
	strange []string // answer, and have no card
}

const (
	crowdWhere = `labels.env == "prod"`
	slowness   = 300 * time.Millisecond
)

// crowdSize is small, with a deadline that a busy machine keeps too, unless
// there is time, and quiet, for a large one.
func crowdSize() (runners, rounds int, timeout time.Duration) {
	if os.Getenv("RUNNEL_LONG") != "" {
		return 1000, 100, 900 * time.Millisecond
	}
	return 100, 3, 3 * time.Second
}

func newCrowd(t *testing.T, size int) *crowd {
	c := &crowd{t: t, server: rig.Embedded(t, embedded.Config{InProcessOnly: true})}
	c.client = fleet.Client(t, c.connect())
	// The first makes streams and buckets, then the others come at once.
	c.start("web0000", "prod")
	c.healthy = append(c.healthy, "web0000")
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	var mu sync.Mutex
	for i := 1; i < size; i++ {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			name := fmt.Sprintf("web%04d", i)
			env, list := "prod", &c.healthy
			switch {
			case i%33 == 0: // 3 %
				list = &c.dead
			case i%10 == 7: // 10 %
				env, list = "test", &c.other
			}
			nc := c.start(name, env)
			mu.Lock()
			defer mu.Unlock()
			*list = append(*list, name)
			if list == &c.dead {
				nc.Close() // its card stays: so does that of a host whose power was cut
			}
		})
	}
	wg.Wait()
	for i := range max(1, size/50) { // 2 %
		c.slow = append(c.slow, c.startBare(fmt.Sprintf("slow%02d", i), slowness, true))
	}
	for _, list := range [][]string{c.healthy, c.dead, c.other, c.slow} {
		slices.Sort(list)
	}
	return c
}

func (c *crowd) connect() *nats.Conn {
	nc, err := c.server.Connect()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

func (c *crowd) start(name, env string) *nats.Conn {
	nc := c.connect()
	s, err := service.Start(context.Background(), nc, service.Config{
		Name: name, Settings: service.Settings{Labels: map[string]string{"env": env}}, DataDir: c.t.TempDir(),
		Logger: slog.New(slog.DiscardHandler), NoCgroup: true, OnDemand: true,
	})
	if err != nil {
		c.t.Error(err)
		return nc
	}
	c.t.Cleanup(s.Close)
	return nc
}

// startBare is a runner that is nothing but an answer, late, with or without a card.
func (c *crowd) startBare(name string, after time.Duration, hasCard bool) string {
	nc := c.connect()
	if hasCard {
		js, err := jetstream.New(nc)
		if err != nil {
			c.t.Fatal(err)
		}
		space, err := subjects.New("")
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := store.Open(c.t.Context(), js, space, store.Config{}); err != nil { // makes the bucket
			c.t.Fatal(err)
		}
		put := func() {
			card := &pb.Card{Name: name, Pools: []string{"default"}, Labels: map[string]string{"env": "prod"}, State: "ready"}
			if err := rig.PutCard(context.Background(), js, card); err != nil && nc.IsConnected() {
				c.t.Error(err)
			}
		}
		put()
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			tick := time.NewTicker(5 * time.Second)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					put()
				case <-stop:
					return
				}
			}
		}()
		c.t.Cleanup(func() { close(stop); <-done })
	}
	_, err := nc.Subscribe("runner.glance.all", func(m *nats.Msg) {
		time.AfterFunc(after, func() {
			reply := &nats.Msg{Subject: m.Reply, Data: []byte(`{"runner":"` + name + `"}`), Header: nats.Header{"Runner-Name": []string{name}}}
			_ = nc.PublishMsg(reply) // the test may be over
		})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		c.t.Fatal(err)
	}
	return name
}

// The five lists are exactly right, every time, and in time.
func TestFanOutListsAreRight(t *testing.T) {
	size, rounds, timeout := crowdSize()
	c := newCrowd(t, size)
	c.strange = append(c.strange, c.startBare("stranger", 0, false))
	want := slices.Concat(c.healthy, c.slow)
	slices.Sort(want)
	var slowest time.Duration
	for round := range rounds {
		began := time.Now()
		got, err := c.client.GlanceAll(t.Context(), client.Target{Where: crowdWhere}, &pb.Glance{}, client.FanOptions{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
		if !slices.Equal(got.OK, want) || len(got.Failed) > 0 || !slices.Equal(got.Skipped, c.other) ||
			!slices.Equal(got.Missing, c.dead) || !slices.Equal(got.Unexpected, c.strange) {
			t.Fatalf("round %d: got %d ok of %d, %d failed, %d skipped of %d, %d missing of %d, unexpected %v\nmissing %v\nwant    %v",
				round, len(got.OK), len(want), len(got.Failed), len(got.Skipped), len(c.other), len(got.Missing), len(c.dead), got.Unexpected, got.Missing, c.dead)
		}
	}
	t.Logf("%d fan-outs over %d runners, the slowest in %s", rounds, size, slowest)
}

// Without anybody dead there is no waiting for a deadline.
func TestFanOutEndsEarly(t *testing.T) {
	size, rounds, _ := crowdSize()
	c := newCrowd(t, size/2)
	for range rounds {
		began := time.Now()
		got, err := c.client.GlanceAll(t.Context(), client.Target{Where: `labels.env == "test"`}, &pb.Glance{}, client.FanOptions{Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.OK, c.other) || !got.Complete() {
			t.Fatalf("got %+v", got)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Fatalf("waited %s though all had answered", took)
		}
	}
}
