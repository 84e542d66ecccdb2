package endpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// door holds up handlers until it is opened, and counts those inside.
type door struct {
	open            chan struct{}
	inside, highest atomic.Int64
	mu              sync.Mutex
	order           []string
}

func newDoor() *door { return &door{open: make(chan struct{})} }

func (d *door) pass(name string) {
	now := d.inside.Add(1)
	defer d.inside.Add(-1)
	d.mu.Lock()
	d.highest.Store(max(d.highest.Load(), now))
	d.order = append(d.order, name)
	d.mu.Unlock()
	<-d.open
}

func (d *door) glance(_ context.Context, r *endpoint.Request, _ *pb.GlanceRequest) (*pb.GlanceReply, error) {
	d.pass(r.ReplyTo())
	return &pb.GlanceReply{Error: "fog"}, nil
}

// inboxes asks without waiting, and tells the answers' codes.
func (s *table) inboxes(n int, body string) (codes chan string) {
	s.t.Helper()
	codes = make(chan string, n)
	inbox := nats.NewInbox()
	sub, err := s.nc.Subscribe(inbox+".*", func(m *nats.Msg) { codes <- m.Header.Get("Nats-Service-Error-Code") })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = sub.Unsubscribe() })
	for i := range n {
		if err := s.nc.PublishRequest("runner.glance.at.web1", fmt.Sprintf("%s.%03d", inbox, i), []byte(body)); err != nil {
			s.t.Fatal(err)
		}
	}
	return codes
}

func count(t *testing.T, codes chan string, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		select {
		case code := <-codes:
			got[code]++
		case <-time.After(soon):
			t.Fatalf("only %v of %d answers", got, n)
		}
	}
	return got
}

// So many are at work, so many wait in order of arrival, the rest is refused at
// once; another verb is answered meanwhile.
func TestBound(t *testing.T) {
	d := newDoor()
	row := looking(d.glance)
	row.Bound = endpoint.Bound{AtOnce: 3, Queue: 5}
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{row, {
		Verb: subjects.Maint, Reach: endpoint.ReachAt,
		Handle: endpoint.Handle(func(context.Context, *endpoint.Request, *pb.MaintRequest) (*pb.MaintReply, error) {
			return &pb.MaintReply{}, nil
		}),
	}}})
	codes := s.inboxes(50, glance)
	if got := count(t, codes, 42); got["429"] != 42 {
		t.Errorf("got %v while all are held up", got)
	}
	reply := s.ask("runner.glance.pool.db.any", glance) // the bound is the verb's, whatever the scope
	isError(t, reply, "429", "3 such requests and 5 more wait")
	isReply(t, s.ask("runner.maint.at.web1", `{"kind":"runner","spec":{"maint":{}}}`), "runner")
	rig.Eventually(t, "three are inside", func() bool { return d.inside.Load() == 3 })
	close(d.open)
	if got := count(t, codes, 8); got[""] != 8 {
		t.Errorf("got %v of those that were taken", got)
	}
	if d.highest.Load() != 3 {
		t.Errorf("%d at once", d.highest.Load())
	}
	for _, name := range d.order[:3] { // those that waited came after
		if !strings.HasSuffix(name, ".000") && !strings.HasSuffix(name, ".001") && !strings.HasSuffix(name, ".002") {
			t.Errorf("out of turn: %v", d.order)
			break
		}
	}
	isReply(t, s.ask("runner.glance.at.web1", glance), "fog")
}

// Large requests wait only while there is memory for them.
func TestBoundOfBytes(t *testing.T) {
	d := newDoor()
	row := looking(d.glance)
	row.Bound, row.Busy = endpoint.Bound{AtOnce: 1, Queue: 1000}, endpoint.Coded(503, errors.New("full up"))
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{row}})
	const n = 20
	codes := s.inboxes(n, glance+strings.Repeat(" ", 1<<20-1024))
	if got := count(t, codes, n-9); got["503"] != n-9 {
		t.Errorf("got %v", got)
	}
	close(d.open)
	if got := count(t, codes, 9); got[""] != 9 {
		t.Errorf("got %v", got)
	}
}

// A request that holds a place is bounded by the places alone; the place is given
// back before a refusal is sent, and once more at the end.
func TestPlaces(t *testing.T) {
	var free atomic.Int64
	free.Store(2)
	d := newDoor()
	row := looking(nil)
	row.Bound = endpoint.Bound{AtOnce: 1, Queue: 0}
	row.Arrive = func(r *endpoint.Request) endpoint.Handler {
		if free.Add(-1) < 0 {
			free.Add(1)
			return endpoint.Handle(fails(endpoint.Coded(503, errors.New("no place"))))
		}
		var once sync.Once
		r.Hold(func() { once.Do(func() { free.Add(1) }) })
		return endpoint.Handle(func(ctx context.Context, r *endpoint.Request, req *pb.GlanceRequest) (*pb.GlanceReply, error) {
			if strings.HasSuffix(r.ReplyTo(), ".000") || strings.HasSuffix(r.ReplyTo(), ".001") {
				return d.glance(ctx, r, req)
			}
			return nil, endpoint.Coded(403, errors.New("no"))
		})
	}
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{row}})
	codes := s.inboxes(3, glance)
	if got := count(t, codes, 1); got["503"] != 1 {
		t.Errorf("got %v", got)
	}
	close(d.open)
	if got := count(t, codes, 2); got[""] != 2 {
		t.Errorf("got %v", got)
	}
	for range 50 {
		rig.Eventually(t, "both places are free", func() bool { return free.Load() == 2 })
		isError(t, s.ask("runner.glance.at.web1", glance), "403", "no")
		if free.Load() != 2 {
			t.Fatal("the place of a refused request was not free when its caller knew")
		}
	}
}

// A handler may answer and live on: its caller does not wait for it, and what it
// returns later is nobody's.
func TestAnswerAndLiveOn(t *testing.T) {
	d := newDoor()
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{looking(func(_ context.Context, r *endpoint.Request, _ *pb.GlanceRequest) (*pb.GlanceReply, error) {
		r.Answer(&pb.GlanceReply{Error: "first"}, nil)
		r.Answer(&pb.GlanceReply{Error: "second"}, nil)
		d.pass("")
		return &pb.GlanceReply{Error: "third"}, errors.New("third")
	})}})
	isReply(t, s.ask("runner.glance.any", glance), "first")
	close(d.open)
	s.Wait()
	if n := strings.Count(s.log.String(), "request accepted"); n != 1 || strings.Contains(s.log.String(), "refused") {
		t.Errorf("the audit has %d lines:\n%s", n, s.log)
	}
}

// After Stop what is at work is finished, what waits and what comes is refused.
func TestStop(t *testing.T) {
	d := newDoor()
	row := looking(d.glance)
	row.Bound = endpoint.Bound{AtOnce: 1, Queue: 5}
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{row}})
	codes := s.inboxes(3, glance)
	rig.Eventually(t, "one is at work", func() bool { return d.inside.Load() == 1 })
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "two wait", func() bool { return s.requests() == 3 })
	s.Stop()
	isError(t, s.ask("runner.glance.at.web1", glance), "503", "stopping")
	s.end(endpoint.ErrStopping)
	close(d.open)
	if got := count(t, codes, 3); got[""] != 1 || got["503"] != 2 {
		t.Errorf("got %v", got)
	}
}

// requests is how many glances at web1 its statistics have.
func (s *table) requests() int { return int(s.stats("runner.glance.at.web1")["requests"].(float64)) }

func (s *table) stats(subject string) map[string]any {
	s.t.Helper()
	reply := s.ask("$SRV.STATS.runner", "")
	var stats struct {
		Endpoints []struct {
			Subject string
			Data    map[string]any
		}
	}
	if err := json.Unmarshal(reply.Data, &stats); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range stats.Endpoints {
		if e.Subject == subject {
			return e.Data
		}
	}
	s.t.Fatalf("no statistics of %s: %s", subject, reply.Data)
	return nil
}
