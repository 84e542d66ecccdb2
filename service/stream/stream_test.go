package stream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a server, a connection and a stream on work.>.
func open(t *testing.T) stream.Stream {
	t.Helper()
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	create := func() (jetstream.StreamConfig, error) {
		return jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}}, nil
	}
	if _, err := stream.Ensure(t.Context(), js, stream.Wanted{Name: "WORK", Create: create, Change: func(c *jetstream.StreamConfig) { c.AllowDirect = true }}); err != nil {
		t.Fatal(err)
	}
	return stream.Stream{JS: js, Name: "WORK"}
}

func put(t *testing.T, s stream.Stream, subject, body string, last uint64) uint64 {
	t.Helper()
	seq, err := s.Put(t.Context(), stream.Put{Msg: &nats.Msg{Subject: subject, Data: []byte(body)}, Last: last})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestPutOnCondition(t *testing.T) {
	s := open(t)
	first := put(t, s, "work.a", "one", 0)
	_, err := s.Put(t.Context(), stream.Put{Msg: &nats.Msg{Subject: "work.a", Data: []byte("other")}})
	var conflict *stream.ConflictError
	if !errors.As(err, &conflict) || conflict.Now.Seq != first || string(conflict.Now.Data) != "one" {
		t.Errorf("got %v, want a conflict with message %d", err, first)
	}
	second := put(t, s, "work.a", "two", first)
	if _, err := s.Put(t.Context(), stream.Put{Msg: &nats.Msg{Subject: "work.a", Data: []byte("late")}, Last: first}); !errors.As(err, &conflict) || conflict.Now.Seq != second {
		t.Errorf("got %v, want a conflict with message %d", err, second)
	}
	if _, err := s.Put(t.Context(), stream.Put{Msg: &nats.Msg{Subject: "work.b"}, Last: 7}); !errors.As(err, &conflict) || conflict.Now.Seq != 0 {
		t.Errorf("got %v, want a conflict with nothing", err)
	}
}

func TestReads(t *testing.T) {
	s := open(t)
	a, b := put(t, s, "work.a", "a", 0), put(t, s, "work.b", "b", 0)
	again := put(t, s, "work.a", "again", a)
	for _, c := range []struct {
		what string
		read func(context.Context) (stream.Message, error)
		want uint64
	}{
		{"last of a", func(ctx context.Context) (stream.Message, error) { return s.Last(ctx, "work.a") }, again},
		{"last of all", func(ctx context.Context) (stream.Message, error) { return s.Last(ctx, "work.>") }, again},
		{"first of a", func(ctx context.Context) (stream.Message, error) { return s.Next(ctx, "work.a", 0) }, a},
		{"next of a", func(ctx context.Context) (stream.Message, error) { return s.Next(ctx, "work.a", b) }, again},
		{"next of a from any replica", func(ctx context.Context) (stream.Message, error) { return s.NextDirect(ctx, "work.a", b) }, again},
	} {
		m, err := c.read(t.Context())
		if err != nil || m.Seq != c.want || m.Subject == "" || m.Time.IsZero() {
			t.Errorf("%s: got %+v, %v; want message %d", c.what, m, err, c.want)
		}
	}
	for _, read := range []func(context.Context, string, uint64) (stream.Message, error){s.Next, s.NextDirect} {
		if _, err := read(t.Context(), "work.b", again); !errors.Is(err, stream.ErrNoMessage) {
			t.Errorf("got %v, want ErrNoMessage", err)
		}
	}
}

// TestNextDirectWithoutReplicas: a stream without direct gets is asked by its leader.
func TestNextDirectWithoutReplicas(t *testing.T) {
	s := open(t)
	have, err := s.JS.Stream(t.Context(), s.Name)
	if err == nil {
		_, err = stream.Update(t.Context(), s.JS, have, func(c *jetstream.StreamConfig) { c.AllowDirect = false })
	}
	if err != nil {
		t.Fatal(err)
	}
	seq := put(t, s, "work.a", "a", 0)
	if m, err := s.NextDirect(t.Context(), "work.a", 0); err != nil || m.Seq != seq {
		t.Errorf("got %+v, %v; want message %d", m, err, seq)
	}
}

func TestPrefix(t *testing.T) {
	s := open(t)
	domain, err := jetstream.NewWithDomain(s.JS.Conn(), "hub")
	if err != nil {
		t.Fatal(err)
	}
	imported, err := jetstream.NewWithAPIPrefix(s.JS.Conn(), "js.from.hub")
	if err != nil {
		t.Fatal(err)
	}
	for want, js := range map[string]jetstream.JetStream{"$JS.API.": s.JS, "$JS.hub.API.": domain, "js.from.hub.": imported} {
		if got := stream.Prefix(js); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if stream.Pause(ctx, time.Hour) {
		t.Error("it waited for the time")
	}
	if !stream.Pause(t.Context(), time.Millisecond) {
		t.Error("it waited for the context")
	}
	if stream.RetryWait(1) >= stream.RetryWait(2) || stream.RetryWait(100) != time.Second {
		t.Errorf("waits are %s, %s, …, %s", stream.RetryWait(1), stream.RetryWait(2), stream.RetryWait(100))
	}
}
