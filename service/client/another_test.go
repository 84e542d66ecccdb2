package client_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// refuse is a runner called web0 that answers any with this error, and counts.
func refuse(t *testing.T, f *fleet.Fleet, subject, code, text string) *atomic.Int64 {
	t.Helper()
	var asked atomic.Int64
	nc := f.Conn()
	sub, err := nc.QueueSubscribe(subject, "runner", func(m *nats.Msg) {
		asked.Add(1)
		reply := nats.NewMsg(m.Reply)
		reply.Header.Set("Nats-Service-Error-Code", code)
		reply.Header.Set("Nats-Service-Error", text)
		reply.Header.Set("Runner-Name", "web0")
		_ = m.RespondMsg(reply)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &asked
}

// What any runner may do, another does when the one that NATS picked is busy,
// full, or refuses for reasons of its own.
func TestAnotherIsAsked(t *testing.T) {
	for code, text := range map[string]string{
		"429": "cannot answer glance now", "503": "No resources available. Please try later.", "403": "policy: files.roots does not have it",
		"400": "this runner can't do that: no isolation strict",
	} {
		f := fleet.New(t, service.Config{Name: "web1"})
		c := f.Client()
		asked := refuse(t, f, "runner.*.any", code, text)
		for deadline := time.Now().Add(30 * time.Second); asked.Load() < 5 && time.Now().Before(deadline); {
			if _, err := c.Glance(t.Context(), client.Target{}, &pb.Glance{}); err != nil {
				t.Fatalf("%s: %v", code, err)
			}
			if _, err := c.Run(t.Context(), client.Target{}, shell("true"), client.RunEvents{}); err != nil {
				t.Fatalf("%s: %v", code, err)
			}
		}
		if asked.Load() < 5 {
			t.Errorf("%s: NATS picked the other one %d times", code, asked.Load())
		}
	}
}

// Where all refuse, the error says who; what is wrong with the request itself is
// asked once.
func TestNobodyElse(t *testing.T) {
	f := fleet.New(t)
	asked := refuse(t, f, "runner.glance.any", "403", "policy: files.roots does not have it")
	_, err := f.Client().Glance(t.Context(), client.Target{}, &pb.Glance{})
	if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "web0") || asked.Load() != 1 {
		t.Errorf("got %v, asked %d times", err, asked.Load())
	}
	f = fleet.New(t, service.Config{Name: "web1", Settings: service.Settings{Slots: 1}})
	asked = refuse(t, f, "runner.glance.any", "400", "path is empty")
	for range 20 {
		_, err := f.Client().Glance(t.Context(), client.Target{}, &pb.Glance{})
		if err != nil && (!errors.Is(err, client.ErrInvalid) || strings.Contains(err.Error(), "web0")) {
			t.Errorf("got %v", err)
		}
	}
	if asked.Load() == 0 {
		t.Error("NATS never picked the other one")
	}
}

// A query is asked of another runner while one is busy.
func TestBusyQuery(t *testing.T) {
	f := fleet.New(t, service.Config{Name: "web1"})
	c := f.Client()
	asked := refuse(t, f, "runner.query.any", "429", "too many queries at once. Please try later")
	answered := 0
	for deadline := time.Now().Add(30 * time.Second); asked.Load() < 5 && time.Now().Before(deadline); {
		if _, err := c.Query(t.Context(), &pb.Query{All: true}); err == nil {
			answered++
		}
	}
	if answered == 0 || asked.Load() < 5 {
		t.Errorf("%d answers, %d refusals", answered, asked.Load())
	}
}
