package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
)

// Before its first use there is no queue, and looking makes none.
func TestBeforeTheFirstUse(t *testing.T) {
	s := newSite(t)
	for what, f := range map[string]func() error{
		"find":      func() error { return s.Find(s.ctx()) },
		"lines":     func() error { _, err := s.Lines(s.ctx()); return err },
		"newest":    func() error { _, err := s.Newest(s.ctx(), 3, func(*pb.Run) bool { return true }); return err },
		"each":      func() error { return s.Each(s.ctx(), "", func(*pb.Run, Work) bool { return true }) },
		"purge":     func() error { _, err := s.Purge(s.ctx(), "default", "test"); return err },
		"pause":     func() error { return s.SetPaused(s.ctx(), "default", &Pause{}) },
		"paused":    func() error { _, err := s.Paused(s.ctx(), "default"); return err },
		"conflicts": func() error { _, err := s.Conflicts(s.ctx()); return err },
		"failed":    func() error { _, err := s.Failed(s.ctx()); return err },
		"key":       func() error { _, err := s.TakeKey(s.ctx(), "k", "x", 1); return err },
	} {
		if err := f(); !errors.Is(err, ErrNoQueue) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Get(s.ctx(), "x"); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("get: %v", err)
	}
	if _, err := s.Withdraw(s.ctx(), "x", "test"); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("withdraw: %v", err)
	}
	if _, err := s.js.Stream(s.ctx(), s.space.QueueStream()); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("there is a stream: %v", err)
	}
}

// Several that use the queue first at once all get it, and it is what it must be.
func TestMadeAtOnce(t *testing.T) {
	sites := []*site{newSite(t)}
	for len(sites) < 5 {
		sites = append(sites, sites[0].another())
	}
	var wg sync.WaitGroup
	for i, s := range sites {
		wg.Go(func() {
			if _, err := s.Ensure(s.ctx()); err != nil {
				t.Error(err)
			}
			if _, err := s.Put(s.ctx(), Item{Request: request(t, fmt.Sprint("w", i), "true")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	st, err := sites[0].js.Stream(sites[0].ctx(), sites[0].space.QueueStream())
	if err != nil {
		t.Fatal(err)
	}
	c := st.CachedInfo().Config
	if c.Retention != jetstream.WorkQueuePolicy || c.Discard != jetstream.DiscardNew || !c.DiscardNewPerSubject || c.MaxMsgsPerSubject != 1 || c.MaxAge != 0 || c.MaxMsgs != DefaultMaxMsgs || !c.AllowDirect {
		t.Errorf("%+v", c)
	}
	if got, want := strings.Join(c.Subjects, " "), "P.queue.work.*.high.* P.queue.work.*.normal.* P.queue.work.*.low.*"; got != strings.ReplaceAll(want, "P", sites[0].space.Prefix()) {
		t.Errorf("subjects: %s", got)
	}
	if n := sites[0].left(); n != 5 {
		t.Errorf("%d messages", n)
	}
	if again, err := sites[0].Ensure(sites[0].ctx()); again || err != nil {
		t.Errorf("made again: %t, %v", again, err)
	}
}

// A queue that somebody removed is found to be lost, and made anew.
func TestMadeAnew(t *testing.T) {
	s := made(t)
	if err := s.EnsureConsumer(s.ctx(), "db", "high"); err != nil {
		t.Fatal(err)
	}
	if err := s.js.DeleteStream(s.ctx(), s.space.QueueStream()); err != nil {
		t.Fatal(err)
	}
	s.Lost()
	if err := s.Find(s.ctx()); !errors.Is(err, ErrNoQueue) {
		t.Errorf("found: %v", err)
	}
	if anew, err := s.Ensure(s.ctx()); !anew || err != nil {
		t.Errorf("%t, %v", anew, err)
	}
	if err := s.EnsureConsumer(s.ctx(), "db", "high"); err != nil {
		t.Error(err)
	}
	if _, err := s.js.Consumer(s.ctx(), s.space.QueueStream(), "work-db-high"); err != nil {
		t.Error(err)
	}
}

func TestConsumers(t *testing.T) {
	s := made(t)
	other := s.another()
	for _, who := range []*site{s, s, other} {
		if err := who.EnsureConsumer(who.ctx(), "db", "low"); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.js.Consumer(s.ctx(), s.space.QueueStream(), "work-db-low")
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	if cfg.FilterSubject != s.space.Work("db", "low", "*") || cfg.AckPolicy != jetstream.AckExplicitPolicy || cfg.MaxAckPending != -1 || cfg.MaxDeliver != -1 || cfg.AckWait != AckWait || s.ProgressEvery() != AckWait/3 {
		t.Errorf("%+v", cfg)
	}
	if err := s.Look(s.ctx(), "db", "low"); err != nil {
		t.Error(err)
	}
	if err := s.Look(s.ctx(), "db", "high"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("a look at what is not there: %v", err)
	}
}

// The same request under an id is the same work, wherever it waits; another one is
// refused, also in another pool.
func TestPutAgain(t *testing.T) {
	s := made(t)
	first, err := s.Put(s.ctx(), Item{Request: request(t, "x", "make")})
	if err != nil || first.Again || first.ID != "x" || first.Seq == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	for _, pool := range []string{"", "default", "db"} {
		for _, priority := range []string{"", "high"} {
			again, err := s.Put(s.ctx(), Item{Pool: pool, Priority: priority, Request: request(t, "x", "make")})
			if err != nil || !again.Again || again.Seq != first.Seq {
				t.Errorf("%s %s: the same: %+v, %v", pool, priority, again, err)
			}
			if _, err := s.Put(s.ctx(), Item{Pool: pool, Priority: priority, Request: request(t, "x", "other")}); !errors.Is(err, ErrConflict) || !strings.HasPrefix(err.Error(), "cannot queue x: ") {
				t.Errorf("%s %s: another: %v", pool, priority, err)
			}
		}
	}
	if n := s.left(); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// Many that put the same at once: one message. Many that put others under one id: one
// of them wins, and all the others are told.
func TestPutAtOnce(t *testing.T) {
	s := made(t)
	var again, conflicts atomic.Int32
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			got, err := s.Put(s.ctx(), Item{Pool: fmt.Sprint("p", i%3), Request: request(t, "same", "make")})
			if err != nil {
				t.Error(err)
			}
			if got.Again {
				again.Add(1)
			}
			_, err = s.Put(s.ctx(), Item{Pool: fmt.Sprint("p", i%3), Request: request(t, "other", fmt.Sprint("make ", i))})
			if errors.Is(err, ErrConflict) {
				conflicts.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if again.Load() != 11 || conflicts.Load() != 11 || s.left() != 2 {
		t.Errorf("%d again, %d conflicts, %d messages", again.Load(), conflicts.Load(), s.left())
	}
}

// A full queue refuses in words and loses nothing; what is there already is no error
// then either.
func TestFullQueue(t *testing.T) {
	s := made(t)
	st, err := s.js.Stream(s.ctx(), s.space.QueueStream())
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxMsgs = 3
	if _, err := s.js.UpdateStream(s.ctx(), cfg); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.put(fmt.Sprint("w", i))
	}
	_, err = s.Put(s.ctx(), Item{Request: request(t, "more", "true")})
	if !errors.Is(err, ErrFull) || !strings.HasPrefix(err.Error(), "cannot queue more: the queue is full") {
		t.Errorf("got %v", err)
	}
	if got, err := s.Put(s.ctx(), Item{Request: request(t, "w1", "true")}); err != nil || !got.Again {
		t.Errorf("the same: %+v, %v", got, err)
	}
	if _, err := s.Put(s.ctx(), Item{Request: request(t, "w1", "false")}); !errors.Is(err, ErrConflict) {
		t.Errorf("another: %v", err)
	}
	if _, err := s.Withdraw(s.ctx(), "w0", "test"); err != nil {
		t.Fatal(err)
	}
	s.put("more")
	if n := s.left(); n != 3 {
		t.Errorf("%d messages", n)
	}
}

func TestPutAsync(t *testing.T) {
	s := made(t)
	const n = 500
	futures := make([]jetstream.PubAckFuture, n)
	for i := range futures {
		var err error
		if futures[i], err = s.PutAsync(Item{Request: request(t, fmt.Sprint("w", i), "true")}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := s.PutAsync(Item{Pool: "db", Request: request(t, "w7", "true")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := s.ctx()
	for i, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			t.Errorf("%d: %v", i, err)
		case <-ctx.Done():
			t.Fatal("no answer")
		}
	}
	select {
	case <-again.Ok():
		t.Error("an id that is there is taken twice")
	case <-again.Err():
	case <-ctx.Done():
		t.Fatal("no answer")
	}
	if left := s.left(); left != n {
		t.Errorf("%d messages", left)
	}
	if _, err := s.PutAsync(Item{Request: request(t, "a b", "true")}); err == nil {
		t.Error("an id that is none is taken")
	}
}

// A put whose context is over says so, and of what.
func TestPutEndsWithItsContext(t *testing.T) {
	s := made(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(s.ctx())
	cancel(cause)
	if _, err := s.Put(ctx, Item{Request: request(t, "x", "true")}); err == nil || !strings.HasPrefix(err.Error(), "cannot queue x: ") {
		t.Errorf("got %v", err)
	}
}

// Removing twice, or what was never there, is no error.
func TestRemove(t *testing.T) {
	s := made(t)
	seq := s.put("x")
	s.put("y")
	for range 2 {
		if err := s.Remove(s.ctx(), seq); err != nil {
			t.Error(err)
		}
	}
	if err := s.Remove(s.ctx(), 4711); err != nil {
		t.Errorf("a sequence to come: %v", err)
	}
	if _, err := s.Get(s.ctx(), "x"); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("got %v", err)
	}
	w, err := s.Get(s.ctx(), "y")
	if err != nil || w.ID != "y" || w.Pool != "default" || w.Priority != "normal" || w.Accepted.IsZero() {
		t.Errorf("%+v, %v", w, err)
	}
	for _, id := range []string{"", "*", ">", "a.b", "a b", strings.Repeat("x", 300)} {
		if _, err := s.Get(s.ctx(), id); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("%q: %v", id, err)
		}
	}
	// Its id is free again, as far as the queue knows.
	s.put("x")
}
