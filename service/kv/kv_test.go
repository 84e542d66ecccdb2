package kv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	return rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
}

func open(t *testing.T) *kv.Bucket {
	t.Helper()
	b, err := kv.Open(t.Context(), connect(t), kv.Config{Name: "things", MarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, b *kv.Bucket, w kv.Write) uint64 {
	t.Helper()
	rev, err := b.Put(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func wantConflict(t *testing.T, b *kv.Bucket, w kv.Write, gone bool) {
	t.Helper()
	_, err := b.Put(t.Context(), w)
	var conflict *kv.ConflictError
	if !errors.As(err, &conflict) || conflict.Gone != gone {
		t.Errorf("%+v: got %v, want a conflict, gone %t", w, err, gone)
	}
}

func TestPut(t *testing.T) {
	b := open(t)
	rev := put(t, b, kv.Write{Key: "a", Body: []byte("1"), Create: true})
	wantConflict(t, b, kv.Write{Key: "a", Body: []byte("2"), Create: true}, false)
	wantConflict(t, b, kv.Write{Key: "a", Body: []byte("2"), Expect: rev + 7}, false)
	next := put(t, b, kv.Write{Key: "a", Body: []byte("2"), Expect: rev})
	if e, err := b.Get(t.Context(), "a"); err != nil || string(e.Body) != "2" || e.Rev != next || e.Stored.IsZero() {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := b.Delete(t.Context(), "a", rev, 0); err == nil {
		t.Error("it was removed at a revision that was not its last")
	}
	if err := b.Delete(t.Context(), "a", next, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "a", next, time.Hour); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	wantConflict(t, b, kv.Write{Key: "a", Body: []byte("3"), Expect: next}, true)
	marker, err := b.GetLeader(t.Context(), "a")
	if !errors.Is(err, kv.ErrNoKey) || !marker.Removed() || marker.Rev <= next {
		t.Errorf("got %+v, %v; want the marker", marker, err)
	}
	put(t, b, kv.Write{Key: "a", Body: []byte("3"), Create: true})
	if err := b.Set(t.Context(), "a", []byte("4")); err != nil {
		t.Fatal(err)
	}
	if e, err := b.GetLeader(t.Context(), "a"); err != nil || string(e.Body) != "4" {
		t.Errorf("got %+v, %v", e, err)
	}
}

// TestTTL: a key with a time to live goes by itself, and its marker says why.
func TestTTL(t *testing.T) {
	b := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	put(t, b, kv.Write{Key: "a", Body: []byte("1"), Create: true, TTL: time.Second})
	gone := false
	err := b.Watch(ctx, []string{"a"}, 0, func(e *kv.Entry) bool {
		gone = e != nil && e.Body == nil
		return !gone
	})
	if err != nil || !gone {
		t.Fatalf("it is still there: %v", err)
	}
	if e, err := b.GetLeader(ctx, "a"); !errors.Is(err, kv.ErrNoKey) || e.Removed() {
		t.Errorf("got %+v, %v; want no key, and nobody who removed it", e, err)
	}
}

func TestManyAndScan(t *testing.T) {
	b := open(t)
	const n = kv.ManyKeys + 10
	var keys []string
	var revs []uint64
	for i := range n {
		keys = append(keys, fmt.Sprintf("k%d", i))
		revs = append(revs, put(t, b, kv.Write{Key: keys[i], Body: []byte(keys[i]), Create: true}))
	}
	many, err := b.GetMany(t.Context(), append(keys, "nope"))
	if err != nil || len(many) != n || string(many["k7"].Body) != "k7" {
		t.Errorf("got %d keys, %v; want %d", len(many), err, n)
	}
	seen := 0
	if err := b.Scan(t.Context(), revs[n-5], func(e kv.Entry) { seen++ }); err != nil || seen != 5 {
		t.Errorf("a scan from the fifth last revision saw %d, %v", seen, err)
	}
	bodies := 0
	if err := b.Bodies(t.Context(), revs[n-1], func([]byte) bool { bodies++; return true }); err != nil || bodies != n {
		t.Errorf("got %d bodies, %v; want %d", bodies, err, n)
	}
}

// TestWatchFromRevision: only what came after it is told of.
func TestWatchFromRevision(t *testing.T) {
	b := open(t)
	rev := put(t, b, kv.Write{Key: "a", Body: []byte("1"), Create: true})
	put(t, b, kv.Write{Key: "b", Body: []byte("2"), Create: true})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var first string
	err := b.Watch(ctx, nil, rev, func(e *kv.Entry) bool {
		if e != nil {
			first = e.Key
		}
		return first == ""
	})
	if err != nil || first != "b" {
		t.Errorf("got %q, %v; want b", first, err)
	}
}

func TestOpenExisting(t *testing.T) {
	if _, err := kv.Open(t.Context(), connect(t), kv.Config{Name: "things", Existing: true}); !errors.Is(err, kv.ErrNoBucket) {
		t.Errorf("got %v, want ErrNoBucket", err)
	}
}
