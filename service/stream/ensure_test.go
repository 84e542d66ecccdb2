package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/tests/rig"
)

func wanted(change func(*jetstream.StreamConfig)) stream.Wanted {
	return stream.Wanted{
		Name: "WORK",
		Create: func() (jetstream.StreamConfig, error) {
			return jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}}, nil
		},
		Change: change,
	}
}

// Several that make a stream at once all get it, with what it must have.
func TestEnsureAtOnce(t *testing.T) {
	server := rig.Memory(t)
	var wg sync.WaitGroup
	for range 6 {
		js := rig.JetStream(t, rig.Connect(t, server))
		wg.Go(func() {
			s, err := stream.Ensure(t.Context(), js, wanted(func(c *jetstream.StreamConfig) { c.AllowDirect, c.AllowRollup = true, true }))
			if err != nil {
				t.Error(err)
			} else if c := s.CachedInfo().Config; !c.AllowDirect || !c.AllowRollup {
				t.Errorf("got %+v", c)
			}
		})
	}
	wg.Wait()
}

// What can't be changed is told with what there is, and the stream can be used.
func TestEnsureKeepsWhatItCannotChange(t *testing.T) {
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	if _, err := stream.Ensure(t.Context(), js, wanted(func(*jetstream.StreamConfig) {})); err != nil {
		t.Fatal(err)
	}
	s, err := stream.Ensure(t.Context(), js, wanted(func(c *jetstream.StreamConfig) { c.Replicas = 3 }))
	var unchanged *stream.UpdateError
	if !errors.As(err, &unchanged) || unchanged.Have.Replicas != 1 || s == nil {
		t.Fatalf("got %v, %v, want the stream and why it stays", s, err)
	}
	if !strings.HasPrefix(err.Error(), "cannot change the settings of stream WORK: ") || errors.Unwrap(err) == nil {
		t.Errorf("got %v", err)
	}
	if _, err := js.Publish(t.Context(), "work.a", nil); err != nil {
		t.Error(err)
	}
}

func TestEnsureSaysWhyItCannotMake(t *testing.T) {
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	w := wanted(func(*jetstream.StreamConfig) {})
	cause := errors.New("no room")
	w.Create = func() (jetstream.StreamConfig, error) { return jetstream.StreamConfig{}, cause }
	if _, err := stream.Ensure(t.Context(), js, w); !errors.Is(err, cause) || err.Error() != "cannot make stream WORK: no room" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsTransient(t *testing.T) {
	api := func(code int) error { return fmt.Errorf("x: %w", &jetstream.APIError{Code: code}) }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{api(503), true}, {api(400), false}, {api(404), false}, {api(500), false},
		{nats.ErrTimeout, true}, {nats.ErrNoResponders, true}, {context.DeadlineExceeded, true}, {nats.ErrConnectionReconnecting, true}, {nats.ErrDisconnected, true},
		{context.Canceled, false}, {nats.ErrConnectionClosed, false}, {nats.ErrMaxPayload, false}, {nats.ErrBadSubject, false},
		{nats.ErrAuthorization, false}, {nats.ErrPermissionViolation, false}, {jetstream.ErrInvalidBucketName, false},
		{jetstream.ErrJetStreamNotEnabledForAccount, true}, // a server says so while it starts
	} {
		if got := stream.IsTransient(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("%v: got %t, want %t", c.err, got, c.want)
		}
	}
}

// A put that the server refuses for good ends at once; one that nobody answers, with its context.
func TestPutEnds(t *testing.T) {
	s := open(t)
	big := &nats.Msg{Subject: "work.a", Data: make([]byte, s.JS.Conn().MaxPayload()+1)}
	if _, err := s.Put(t.Context(), stream.Put{Msg: big}); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("got %v, want that it is too large", err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	if _, err := s.Put(ctx, stream.Put{Msg: &nats.Msg{Subject: "nobody.listens"}}); !errors.Is(err, cause) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

// Over says which messages may be written over, whatever their sequence.
func TestPutOver(t *testing.T) {
	s := open(t)
	put(t, s, "work.a", "marker", 0)
	marker := func(m stream.Message) bool { return string(m.Data) == "marker" }
	seq, err := s.Put(t.Context(), stream.Put{Msg: &nats.Msg{Subject: "work.a", Data: []byte("value")}, Over: marker})
	if err != nil || seq != 2 {
		t.Errorf("got %d, %v, want it over the marker", seq, err)
	}
	var conflict *stream.ConflictError
	if _, err := s.Put(t.Context(), stream.Put{Msg: &nats.Msg{Subject: "work.a", Data: []byte("other")}, Over: marker}); !errors.As(err, &conflict) || conflict.Error() != "the last sequence is 2" {
		t.Errorf("got %v, want a conflict with the value", err)
	}
}

// The message that a caller gives is not changed, and headers come back.
func TestPutLeavesTheMessageAlone(t *testing.T) {
	s := open(t)
	m := &nats.Msg{Subject: "work.a", Data: []byte("x"), Header: nats.Header{"Runner": {"web1"}}}
	if _, err := s.Put(t.Context(), stream.Put{Msg: m}); err != nil {
		t.Fatal(err)
	}
	if len(m.Header) != 1 {
		t.Errorf("got %v, want the header as it was", m.Header)
	}
	for name, read := range map[string]func() (stream.Message, error){
		"leader":  func() (stream.Message, error) { return s.Last(t.Context(), "work.a") },
		"replica": func() (stream.Message, error) { return s.NextDirect(t.Context(), "work.a", 0) },
	} {
		if got, err := read(); err != nil || got.Header.Get("Runner") != "web1" || string(got.Data) != "x" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// A user of a role has an inbox of his own, and leaves its consumers to the server.
func TestWhoTidies(t *testing.T) {
	server := rig.Memory(t)
	for prefix, want := range map[string]bool{"": true, "_INBOX": true, "_INBOX_ann": false} {
		var options []nats.Option
		if prefix != "" {
			options = append(options, nats.CustomInboxPrefix(prefix))
		}
		nc := rig.Connect(t, server, options...)
		if got := stream.Tidies(nc); got != want {
			t.Errorf("%q: got %t, want %t", prefix, got, want)
		}
		if got := stream.OrphanLife(nc, time.Hour); (got == time.Hour) != want || got > time.Hour {
			t.Errorf("%q: got %s", prefix, got)
		}
	}
}

func TestReadsOfAStreamThatIsNotThere(t *testing.T) {
	s := stream.Stream{JS: rig.JetStream(t, rig.Connect(t, rig.Memory(t))), Name: "NONE"}
	var api *jetstream.APIError
	if _, err := s.Last(t.Context(), "work.a"); !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamNotFound {
		t.Errorf("got %v", err)
	}
	if _, err := s.NextDirect(t.Context(), "work.a", 0); !errors.As(err, &api) {
		t.Errorf("got %v", err)
	}
}
