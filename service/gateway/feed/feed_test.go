package feed_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/tests/rig"
)

func open(t *testing.T, cfg feed.Config) (*kv.Bucket, *feed.Feed, func(key, body string) uint64) {
	t.Helper()
	js, err := jetstream.New(rig.Connect(t, rig.Memory(t)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Bucket = "things"
	f := feed.Open(js, cfg) // before there is a bucket
	t.Cleanup(f.Close)
	bucket, err := kv.Open(rig.Within(t, time.Minute), js, kv.Config{Name: "things"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Ready(rig.Within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	return bucket, f, func(key, body string) uint64 {
		t.Helper()
		if err := bucket.Set(rig.Within(t, time.Minute), key, []byte(body)); err != nil {
			t.Fatal(err)
		}
		e, err := bucket.Get(rig.Within(t, time.Minute), key)
		if err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, "the feed has "+key, func() bool { return f.Last() >= e.Rev })
		return e.Rev
	}
}

func since(f *feed.Feed, rev uint64) string {
	entries, _, ok := f.Since(rev, 100)
	text := ""
	for _, e := range entries {
		text += fmt.Sprintf("%s=%s ", e.Key, e.Body)
	}
	return fmt.Sprint(text, ok)
}

// Before there is a bucket the feed is up to date, with nothing; what comes then
// is seen by who has looked already.
func TestNoBucketYet(t *testing.T) {
	js, err := jetstream.New(rig.Connect(t, rig.Memory(t)))
	if err != nil {
		t.Fatal(err)
	}
	f := feed.Open(js, feed.Config{Bucket: "things", All: true})
	t.Cleanup(f.Close)
	if err := f.Ready(rig.Within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := since(f, 0); got != "true" {
		t.Errorf("before there is one: %s", got)
	}
	bucket, err := kv.Open(rig.Within(t, time.Minute), js, kv.Config{Name: "things"})
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Set(rig.Within(t, time.Minute), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "what was put", func() bool { return f.Last() > 0 && f.IsReady() })
	if got := since(f, 0); got != "a=1 true" && got != "false" {
		t.Errorf("then: %q", got)
	}
}

// Steps in between are joined, the last state of each key is there, in order.
func TestNewestStates(t *testing.T) {
	bucket, f, put := open(t, feed.Config{})
	first := put("a", "1")
	put("b", "1")
	put("a", "2")
	last := put("a", "3")
	if got := since(f, first); got != "b=1 a=3 true" {
		t.Error(got)
	}
	if got := since(f, last); got != "true" {
		t.Errorf("after the last: %q", got)
	}
	e, err := bucket.Get(rig.Within(t, time.Minute), "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(rig.Within(t, time.Minute), "b", e.Rev, 0); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the removal", func() bool { return since(f, last) == "b= true" })
	if all, _ := f.All(); len(all) != 1 || all[0].Key != "a" {
		t.Errorf("all: %v", all)
	}
	if _, _, ok := f.Since(last+1000, 1); ok {
		t.Error("a revision of another life is taken")
	}
}

// What is let go of has readers begin again, and is bounded.
func TestTooOld(t *testing.T) {
	_, f, put := open(t, feed.Config{MaxEntries: 3})
	revs := make([]uint64, 6)
	for i := range revs {
		revs[i] = put(fmt.Sprint("k", i), "x")
	}
	if _, _, ok := f.Since(revs[1], 10); ok {
		t.Error("what came after the second is not all kept")
	}
	if got := since(f, revs[2]); got != "k3=x k4=x k5=x true" {
		t.Error(got)
	}
	entries, upTo, ok := f.Since(revs[2], 2)
	if !ok || len(entries) != 2 || upTo != revs[4] {
		t.Errorf("two at a time: %v up to %d", entries, upTo)
	}
	if _, ok := f.Get("k0"); ok {
		t.Error("the oldest is kept")
	}
}

// A feed that begins now knows what changed a moment before.
func TestLooksBack(t *testing.T) {
	js, err := jetstream.New(rig.Connect(t, rig.Memory(t)))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := kv.Open(rig.Within(t, time.Minute), js, kv.Config{Name: "things"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := bucket.Set(rig.Within(t, time.Minute), fmt.Sprint("k", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	f := feed.Open(js, feed.Config{Bucket: "things"})
	t.Cleanup(f.Close)
	if err := f.Ready(rig.Within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := since(f, 1); got != "k1=x k2=x true" {
		t.Error(got)
	}
}
