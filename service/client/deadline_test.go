package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// Requests say how long their caller waits, to one runner and to many; those of a
// caller that can't learn the server's time don't.
func TestRequestsHaveADeadline(t *testing.T) {
	f := fleet.New(t, service.Config{Name: "web1"})
	nc := f.Conn()
	heard := make(chan *nats.Msg, 16)
	sub, err := nc.ChanSubscribe("runner.*.>", heard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(f.Conn(), client.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	deadlineOf := func(verb string) time.Time {
		t.Helper()
		for {
			select {
			case m := <-heard:
				if m.Subject != verb {
					continue
				}
				at, err := time.Parse(time.RFC3339Nano, m.Header.Get("Runner-Deadline"))
				if err != nil {
					t.Fatalf("%s: %v", m.Subject, err)
				}
				return at
			case <-time.After(20 * time.Second):
				t.Fatalf("nobody asked %s", verb)
			}
		}
	}
	near := func(at time.Time, patience time.Duration) {
		t.Helper()
		if left := time.Until(at); left > patience+time.Second || left < patience-15*time.Second {
			t.Errorf("%s are left of %s", left, patience)
		}
	}
	if _, err := c.Glance(t.Context(), client.Target{}, &pb.Glance{}); err != nil {
		t.Fatal(err)
	}
	near(deadlineOf("runner.glance.any"), 20*time.Second)
	if _, err := c.GlanceAll(t.Context(), client.Target{}, &pb.Glance{}, client.FanOptions{Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	near(deadlineOf("runner.glance.all"), time.Minute)
}

// A runner's 408 is ErrTooLate.
func TestTooLate(t *testing.T) {
	f := fleet.New(t)
	nc := f.Conn()
	sub, err := nc.Subscribe("runner.glance.at.web1", func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		reply.Header.Set("Nats-Service-Error-Code", "408")
		reply.Header.Set("Nats-Service-Error", "asked too late: it is 2s past the caller's deadline")
		_ = m.RespondMsg(reply)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Client().Glance(t.Context(), client.Target{On: "web1"}, &pb.Glance{}); !errors.Is(err, client.ErrTooLate) {
		t.Errorf("got %v", err)
	}
}
