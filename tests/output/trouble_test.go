package output

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/wire"
)

// trouble is runs that are followed while something happens to the server.
type trouble struct {
	t    *testing.T
	nc   *nats.Conn
	runs sync.WaitGroup
}

// run starts a program and follows it with our client: a plain subscription
// may see a message twice when the runner has to publish it again.
func (r *trouble) run(id, program string, n int) {
	c, err := client.New(r.nc, client.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	var req pb.TaskRequest
	if err := pb.UnmarshalJSON(request(r.t, id, program, n), &req); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), gone()+2*time.Minute)
	started := make(chan struct{})
	r.runs.Go(func() {
		defer cancel()
		stdout, stderr := newSum(), newSum()
		outcome, err := c.Run(ctx, client.Target{}, &req, client.RunEvents{Accepted: func(*pb.Run) { close(started) }, Record: func(_ *pb.Run, rec lines.Record) error {
			text := rec.Text
			switch {
			case rec.End != nil || rec.Gap != nil:
				return nil
			case !rec.Open:
				text = append(text, '\n')
			}
			_, err := []*sum{stdout, stderr}[rec.Stream].Write(text)
			return err
		}})
		if err != nil || !outcome.Log.Verified {
			r.t.Errorf("%s, live: %v, %+v", id, err, outcome.Log)
			return
		}
		check(r.t, id+", live", stdout, stderr, program, n)
	})
	select {
	case <-started:
	case <-ctx.Done():
		r.t.Fatalf("%s has not started", id)
	}
}

// whole waits for the ends, and reads all again.
func (r *trouble) whole(programs map[string]int) {
	r.t.Helper()
	r.runs.Wait()
	for program, n := range programs {
		log := replayed(r.t, r.nc, program, program, n)
		r.t.Logf("%s: %d messages", program, log.Messages)
		recordIsFinal(r.t, r.nc, program, log.End)
	}
}

// Three replicas, and the stream's leader is told to step down every 300 ms: no
// hole, nothing twice, the hash equal.
func TestLeaderStepsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel() // it waits more than it works
	nc := newCluster(t)
	programs := map[string]int{"while": 60, "lines": 60_000}
	r := &trouble{t: t, nc: nc}
	stop := make(chan struct{})
	var stepped int
	var stepper sync.WaitGroup
	stepper.Go(func() {
		every := time.NewTicker(300 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-every.C:
			case <-stop:
				return
			}
			stream := wire.Stream
			if stepped%3 == 2 {
				stream = "KV_runner_runs"
			}
			// It may have none at this moment.
			if _, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second); err == nil {
				stepped++
			}
		}
	})
	for program, n := range programs {
		r.run(program, program, n)
	}
	r.runs.Wait()
	close(stop)
	stepper.Wait()
	t.Logf("%d leader changes", stepped)
	if stepped < 3 { // an election takes its time on a busy machine
		t.Errorf("only %d leader changes", stepped)
	}
	r.whole(programs)
}

// newCluster is three servers, one runner and a client, all in this process.
func newCluster(t *testing.T) *nats.Conn {
	t.Helper()
	var urls []string
	for _, server := range rig.Cluster(t, 3) {
		urls = append(urls, server.ClientURL())
	}
	connect := func() *nats.Conn { return rig.Dial(t, strings.Join(urls, ","), patient()...) }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := service.Start(ctx, connect(), service.Config{Name: "web1", OnDemand: true, DataDir: t.TempDir(), Replicas: 3, Logger: rig.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return connect()
}

// The server is killed in the middle and started again at once; three times.
func TestServerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel() // it waits more than it works
	h := newHost(t)
	programs := map[string]int{"while": 60, "lines": 200_000}
	r := &trouble{t: t, nc: h.nc}
	for program, n := range programs {
		r.run(program, program, n)
	}
	for range 3 {
		h.flowing("while")
		kill(h.server)
		h.startServer()
	}
	r.whole(programs)
}

// The server is gone for so long that the output goes to the spool.
func TestServerGone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel() // it waits more than it works
	h := newHost(t)
	programs := map[string]int{"while": 20 + int(gone().Seconds()*10), "lines": 500_000}
	r := &trouble{t: t, nc: h.nc}
	for program, n := range programs {
		r.run(program, program, n)
	}
	h.flowing("while")
	kill(h.server)
	time.Sleep(gone()) // not to wait for something: this is what is tested
	h.startServer()
	r.whole(programs)
}

// flowing waits until more of a run's output has been stored than before.
func (h *host) flowing(id string) {
	h.t.Helper()
	js, err := h.nc.JetStream()
	if err != nil {
		h.t.Fatal(err)
	}
	var first uint64
	for deadline := time.Now().Add(rig.Patience); ; time.Sleep(50 * time.Millisecond) {
		msg, err := js.GetLastMsg(wire.Stream, "runner.log.web1."+id)
		switch {
		case err == nil && first == 0:
			first = msg.Sequence
		case err == nil && msg.Sequence > first+5:
			return
		case time.Now().After(deadline):
			h.t.Fatalf("the output of %s does not flow: %v", id, err)
		}
	}
}
