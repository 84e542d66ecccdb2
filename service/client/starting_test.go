package client_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// lateFleet has a runner b and one that is starting, a: it has a card, and listens
// to answer on subject once b is asked, which is after everybody else was.
func lateFleet(t *testing.T, verb, subject string, answer []byte) *fleet.Fleet {
	t.Helper()
	f := fleet.New(t, service.Config{Name: "b"})
	nc := f.Conn()
	if err := rig.PutCard(t.Context(), rig.JetStream(t, nc), &pb.Card{Name: "a", State: "initialising"}); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	listen := func() {
		if _, err := nc.Subscribe("runner."+verb+"."+subject, func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Runner-Name": {"a"}}, Data: answer})
		}); err != nil {
			t.Error(err)
		}
	}
	for _, asked := range []string{".all", ".at.b"} {
		if _, err := nc.Subscribe("runner."+verb+asked, func(*nats.Msg) { once.Do(listen) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

// A runner that begins to listen a moment after everybody was asked is asked again.
func TestFanOutWaitsForTheStarting(t *testing.T) {
	for name, opts := range map[string]client.FanOptions{"all": {}, "each": {Limit: "100%"}, "batches": {Batch: 2}} {
		t.Run(name, func(t *testing.T) {
			c := lateFleet(t, "glance", "at.a", []byte(`{"runner":"a"}`)).Client()
			opts.Timeout = rig.Patience
			got, err := c.GlanceAll(t.Context(), client.Target{}, &pb.Glance{}, opts)
			if err != nil || !slices.Equal(got.OK, []string{"a", "b"}) || !got.Complete() || len(got.Unexpected) > 0 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// So is one that is to run a task; it does it once, whoever asks.
func TestRunAllWaitsForTheStarting(t *testing.T) {
	f := lateFleet(t, "task", "at.a", []byte(`{"run":{"id":"r1","runner":"a","state":"RUNNING"}}`))
	req := client.TaskOf(client.Target{}, shell("true"))
	got, err := client.Collect(client.FanOut(t.Context(), f.Client(), req, client.FanOptions{Timeout: rig.Patience}))
	if err != nil || !slices.Equal(got.OK, []string{"a", "b"}) || got.Answers["a"].Message.GetRun().GetId() != "r1" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What is not done once by whoever hears it twice is asked of all, and of nobody
// again who may have heard it.
func TestFanOutSetsNoClockTwice(t *testing.T) {
	c := lateFleet(t, "maint", "at.a", []byte(`{"runner":"a"}`)).Client()
	got, err := c.MaintAll(t.Context(), client.Target{}, &pb.Maint{Clock: &pb.ClockQuery{TimeNanos: time.Now().UnixNano()}}, client.FanOptions{Timeout: 3 * time.Second})
	if err != nil || !slices.Equal(got.Missing, []string{"a"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Nobody at all listens yet when everybody is asked.
func TestFanOutOfTheStartingAlone(t *testing.T) {
	f := fleet.New(t)
	f.Runner(service.Config{Name: "b"}).Close() // makes the buckets
	nc := f.Conn()
	if err := rig.PutCard(t.Context(), rig.JetStream(t, nc), &pb.Card{Name: "a", State: "initialising"}); err != nil {
		t.Fatal(err)
	}
	c := f.Client()
	ask := func(timeout time.Duration) *client.FanResult[*pb.GlanceReply] {
		t.Helper()
		got, err := c.GlanceAll(t.Context(), client.Target{}, &pb.Glance{}, client.FanOptions{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := ask(300 * time.Millisecond)
	if err := got.Reasons["a"]; !slices.Equal(got.Missing, []string{"a"}) || !errors.Is(err, client.ErrNoAnswer) || !strings.HasSuffix(err.Error(), "in 300ms: it was starting") {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := nc.Subscribe("runner.glance.at.a", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Runner-Name": {"a"}}, Data: []byte(`{"runner":"a"}`)})
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := ask(rig.Patience); !slices.Equal(got.OK, []string{"a"}) {
		t.Errorf("got %+v", got)
	}
}
