package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/tests/rig"
)

// Of many that create a key at once, one does; the others are told what is there.
func TestOneOfManyCreates(t *testing.T) {
	server := rig.Memory(t)
	var mu sync.Mutex
	var won []string
	var wg sync.WaitGroup
	for i := range 8 {
		js := rig.JetStream(t, rig.Connect(t, server))
		wg.Go(func() {
			b, err := kv.Open(t.Context(), js, kv.Config{Name: "things"}) // all make the bucket, too
			if err != nil {
				t.Error(err)
				return
			}
			_, err = b.Put(t.Context(), kv.Write{Key: "claim", Body: fmt.Append(nil, i), Create: true})
			var conflict *kv.ConflictError
			switch {
			case err == nil:
				mu.Lock()
				won = append(won, fmt.Sprint(i))
				mu.Unlock()
			case !errors.As(err, &conflict) || conflict.Gone || len(conflict.Now.Body) != 1 || conflict.Error() != fmt.Sprintf("revision is %d", conflict.Now.Rev):
				t.Errorf("got %v, want a conflict with what is there", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%q have created it", won)
	}
}

// Names, subjects and settings of a bucket are those that other clients expect.
func TestBucketForOthers(t *testing.T) {
	b := open(t)
	if b.Name() != "things" || b.Subject("a.b") != "$KV.things.a.b" || !b.Direct() {
		t.Errorf("got %s, %s, direct %t", b.Name(), b.Subject("a.b"), b.Direct())
	}
	put(t, b, kv.Write{Key: "a", Body: []byte("ours"), Create: true})
	theirs, err := rig.JetStream(t, b.Conn()).KeyValue(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := theirs.Get(t.Context(), "a"); err != nil || string(e.Value()) != "ours" {
		t.Errorf("got %v, %v", e, err)
	}
	if _, err := theirs.PutString(t.Context(), "b", "theirs"); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if e, err := b.Get(t.Context(), "b"); err != nil || string(e.Body) != "theirs" {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err := b.GetLeader(t.Context(), "a"); !errors.Is(err, kv.ErrNoKey) || !e.Removed() {
		t.Errorf("got %+v, %v, want a key that was removed", e, err)
	}
	info, err := b.Info(t.Context())
	if err != nil || !info.Config.AllowRollup || !info.Config.AllowMsgTTL || info.Config.MaxMsgsPerSubject != 2 {
		t.Errorf("got %+v, %v", info, err)
	}
}

// Each write takes back the one before it: a bucket has one message a key.
func TestOldValuesGo(t *testing.T) {
	b := open(t)
	rev := put(t, b, kv.Write{Key: "a", Body: []byte("0"), Create: true})
	for i := range 20 {
		rev = put(t, b, kv.Write{Key: "a", Body: fmt.Append(nil, i), Expect: rev})
		if err := b.Set(t.Context(), "b", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		e, err := b.Get(t.Context(), "a")
		if err != nil || e.Rev != rev {
			t.Fatalf("got %+v, %v, want revision %d", e, err, rev)
		}
	}
	if info, err := b.Info(t.Context()); err != nil || info.State.Msgs != 2 {
		t.Errorf("got %+v, %v, want a message a key", info.State, err)
	}
}

// An old bucket is given what it lacks; one that can't be changed is used as it is.
func TestOldBucketIsAdopted(t *testing.T) {
	js := connect(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "things"}); err != nil {
		t.Fatal(err)
	}
	b, err := kv.Open(t.Context(), js, kv.Config{Name: "things", MarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Info(t.Context())
	if err != nil || !info.Config.AllowMsgTTL || info.Config.SubjectDeleteMarkerTTL != time.Minute {
		t.Errorf("got %+v, %v", info.Config, err)
	}
	if _, err := kv.Open(t.Context(), js, kv.Config{Name: "things", Existing: true}); err != nil {
		t.Error(err)
	}
	if again, err := kv.Open(t.Context(), js, kv.Config{Name: "things", Replicas: 3}); err != nil {
		t.Errorf("got %v, %v, want the bucket with the replicas that it has", again, err)
	}
}

func TestRange(t *testing.T) {
	b := open(t)
	const n = 1200 // more than one request
	for i := range n {
		if err := b.Set(t.Context(), fmt.Sprintf("k%d", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context(), "k10", 11, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		first, last uint64
		most, want  int
	}{
		{1, n, n, n - 1}, {0, n, n, n - 1}, {1, n + 1, n + 1, n}, {5, 5, n, 1}, {600, 700, n, 101}, {1, n, 7, 7}, {n + 2, n + 100, n, 0}, {9, 3, n, 0},
	} {
		var revs []uint64
		err := b.Range(t.Context(), c.first, c.last, func(e kv.Entry) bool {
			revs = append(revs, e.Rev)
			if gone := e.Body == nil; gone != (e.Key == "k10") {
				t.Errorf("%s: gone is %t", e.Key, gone)
			}
			return len(revs) < c.most
		})
		if err != nil || len(revs) != c.want || !slices.IsSorted(revs) {
			t.Errorf("%d to %d: got %d entries, %v, want %d", c.first, c.last, len(revs), err, c.want)
		}
	}
	bodies := 0
	if err := b.Bodies(t.Context(), n, func([]byte) bool { bodies++; return bodies < 3 }); err != nil || bodies != 3 {
		t.Errorf("got %d bodies, %v, want 3", bodies, err)
	}
	scanned := map[string]bool{}
	if err := b.Scan(t.Context(), 0, func(e kv.Entry) { scanned[e.Key] = e.Body != nil }); err != nil || len(scanned) != n || scanned["k10"] {
		t.Errorf("a scan saw %d keys, %v", len(scanned), err)
	}
}

// A watch tells of what there is, then nil, then of what changes, until it is told to end.
func TestWatch(t *testing.T) {
	b := open(t)
	put(t, b, kv.Write{Key: "a", Body: []byte("1"), Create: true})
	rev := put(t, b, kv.Write{Key: "b", Body: []byte("1"), Create: true})
	var told []string
	err := b.Watch(rig.Within(t, time.Minute), []string{"b", "c"}, 0, func(e *kv.Entry) bool {
		switch {
		case e == nil:
			told = append(told, "now")
			if err := b.Set(t.Context(), "c", []byte("2")); err != nil {
				t.Error(err)
			}
			if err := b.Set(t.Context(), "a", []byte("2")); err != nil { // not watched
				t.Error(err)
			}
			if err := b.Delete(t.Context(), "b", rev, time.Minute); err != nil {
				t.Error(err)
			}
		case e.Body == nil:
			told = append(told, "-"+e.Key)
			return false
		default:
			told = append(told, e.Key+string(e.Body))
		}
		return true
	})
	if got, want := strings.Join(told, " "), "b1 now c2 -b"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// A context that ends ends a watch, which is no error, and everything else, which is one.
func TestContextsEnd(t *testing.T) {
	b := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		watched <- b.Watch(ctx, nil, 0, func(e *kv.Entry) bool {
			if e == nil {
				close(begun)
			}
			return true
		})
	}()
	<-begun
	cancel()
	if err := <-watched; err != nil {
		t.Errorf("a watch ended with %v", err)
	}
	if _, err := b.Get(ctx, "a"); err == nil {
		t.Error("a get went on")
	}
	if _, err := b.GetMany(ctx, []string{"a"}); err == nil {
		t.Error("a get of many went on")
	}
	if _, err := b.Put(ctx, kv.Write{Key: "a", Body: []byte("1"), Create: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("a put ended with %v", err)
	}
	if err := b.Scan(ctx, 0, func(kv.Entry) {}); err == nil {
		t.Error("a scan went on")
	}
}

// A watch goes on after a restart of the server, with what changed meanwhile.
func TestWatchSurvivesARestart(t *testing.T) {
	server := rig.Start(t, rigOptions(t))
	b, err := kv.Open(t.Context(), rig.JetStream(t, rig.Dial(t, server.ClientURL())), kv.Config{Name: "things"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, kv.Write{Key: "a", Body: []byte("1"), Create: true})
	restarted := false
	err = b.Watch(rig.Within(t, time.Minute), []string{"a"}, 0, func(e *kv.Entry) bool {
		if e == nil && !restarted {
			restarted = true
			server.Stop()
			server.Again()
			go func() { // as soon as the connection is back
				_, _ = b.Put(context.Background(), kv.Write{Key: "a", Body: []byte("2"), Expect: 1})
			}()
		}
		return e == nil || string(e.Body) != "2"
	})
	if e, getErr := b.Get(t.Context(), "a"); err != nil || getErr != nil || string(e.Body) != "2" {
		t.Errorf("got %+v, %v, %v", e, err, getErr)
	}
}

func rigOptions(t *testing.T) natsserver.Options {
	return natsserver.Options{JetStream: true, StoreDir: t.TempDir(), Port: rig.FreePort(t), Host: "127.0.0.1"}
}
