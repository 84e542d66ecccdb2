package work

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
)

// take takes a key, or not.
func (s *site) take(key, run string, most int64) bool {
	s.t.Helper()
	got, err := s.TakeKey(s.ctx(), key, run, most)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *site) give(key, run string) {
	s.t.Helper()
	if err := s.GiveKey(s.ctx(), key, run); err != nil {
		s.t.Fatal(err)
	}
}

// Taking and giving agree with a model, for keys of any spelling: each is its own.
func TestKeysAgreeWithModel(t *testing.T) {
	s := made(t)
	keys := []string{"deploy", "Deploy", "a b", "a.b", "a.*", ">", "ключ", "日本", " deploy"}
	model := map[string]map[string]int64{}
	for _, key := range keys {
		model[key] = map[string]int64{}
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		key, run, most := keys[random.IntN(len(keys))], fmt.Sprint("r", random.IntN(5)), int64(1+random.IntN(3))
		held := model[key]
		if random.IntN(3) == 0 {
			s.give(key, run)
			delete(held, run)
			continue
		}
		least := most
		for _, other := range held {
			least = min(least, other)
		}
		_, has := held[run]
		want := has || int64(len(held)) < least
		if got := s.take(key, run, most); got != want {
			t.Fatalf("%q for %s of %d, held by %v: got %t", key, run, most, held, got)
		}
		if want && !has {
			held[run] = most
		}
	}
}

// However many try at once, no more have it than may; each that gives it back makes
// room for one.
func TestKeyTakenAtOnce(t *testing.T) {
	s := made(t)
	const most = 3
	var taken atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			got, err := s.TakeKey(s.ctx(), "k", fmt.Sprint("r", i), most)
			if err != nil {
				t.Error(err)
			}
			if got {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if taken.Load() != most {
		t.Errorf("%d have it, %d may", taken.Load(), most)
	}
	// Who has it may ask again; who has it not gives nothing back.
	for i := range 16 {
		run := fmt.Sprint("r", i)
		again := s.take("k", run, most)
		s.give("k", run)
		if !again && s.take("k", fmt.Sprint("other", i), most) {
			t.Errorf("%s gave back what it did not have", run)
		}
	}
	if !s.take("k", "last", most) {
		t.Error("there is no room after all have given it back")
	}
}

// A full key is taken from runs that have ended, and from no others.
func TestKeyOfWhoHasEnded(t *testing.T) {
	s := made(t)
	s.record("done", 1, pb.State_COMPLETE, exits(0))
	s.record("runs", 1, pb.State_RUNNING)
	s.record("waits", 1, pb.State_PENDING)
	for _, c := range []struct {
		holder string
		want   bool
	}{{"done", true}, {"runs", false}, {"waits", false}, {"no-record-yet", false}} {
		if !s.take(c.holder, c.holder, 1) {
			t.Errorf("%s does not get it", c.holder)
		}
		if got := s.take(c.holder, "next", 1); got != c.want {
			t.Errorf("after %s: %t", c.holder, got)
		}
	}
	// Who has had no record for a minute has died before it had one.
	b, err := s.openBucket(s.ctx(), false)
	if err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprintf(`{"gone":{"max":1,"since":%q}}`, time.Now().Add(-2*claimedWithin).Format(time.RFC3339))
	if err := b.Set(s.ctx(), holdersKey("old"), []byte(old)); err != nil {
		t.Fatal(err)
	}
	if !s.take("old", "next", 1) {
		t.Error("it waits for a run that has died")
	}
	if err := b.Set(s.ctx(), holdersKey("odd"), []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TakeKey(s.ctx(), "odd", "next", 1); err == nil || !strings.HasPrefix(err.Error(), `cannot take concurrency key "odd": `) {
		t.Errorf("of a broken entry: %v", err)
	}
	if err := s.GiveKey(s.ctx(), "odd", "next"); err == nil || !strings.HasPrefix(err.Error(), `cannot give back concurrency key "odd": `) {
		t.Errorf("of a broken entry: %v", err)
	}
}

// Runners that refuse at once are all remembered, each with its last reason.
func TestRefusals(t *testing.T) {
	s := made(t)
	s.put("x")
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := s.AddRefusal(s.ctx(), "x", fmt.Sprint("r", i), "no user ann"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r, err := s.AddRefusal(s.ctx(), "x", "r3", "forbidden")
	if err != nil || len(r.Reason) != 10 || r.Reason["r3"] != "forbidden" || r.Reason["r4"] != "no user ann" || r.Since.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	again, err := s.AddRefusal(s.ctx(), "x", "r3", "forbidden")
	if err != nil || !again.Since.Equal(r.Since) {
		t.Errorf("since %s, then %s, %v", r.Since, again.Since, err)
	}
	run, _, err := s.Waiting(s.ctx(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Explain(s.ctx(), []*pb.Run{run}); err != nil || run.GetQueued().GetWaits() != WaitsRefused || !strings.HasPrefix(run.GetQueued().GetWhy(), "r0: no user ann; r1: ") {
		t.Errorf("%v, %v", run.GetQueued(), err)
	}
	for range 2 {
		if err := s.DropRefusals(s.ctx(), "x"); err != nil {
			t.Error(err)
		}
	}
	if r, err := s.AddRefusal(s.ctx(), "x", "new", "no"); err != nil || len(r.Reason) != 1 {
		t.Errorf("after they were forgotten: %+v, %v", r, err)
	}
}

// A key that is full is why its work waits; work of another key does not.
func TestExplainKeys(t *testing.T) {
	s := made(t)
	s.put("one", `"concurrency":{"key":"a b","max":1}`)
	s.put("two", `"concurrency":{"key":"free","max":1}`)
	s.record("holder", 1, pb.State_RUNNING)
	if !s.take("a b", "holder", 1) {
		t.Fatal("it is taken")
	}
	for id, want := range map[string]string{"one": "key a b is taken by holder", "two": "no runner of pool default is online and ready"} {
		run, _, err := s.Waiting(s.ctx(), id)
		if err == nil {
			err = s.Explain(s.ctx(), []*pb.Run{run})
		}
		if err != nil || run.GetQueued().GetWhy() != want {
			t.Errorf("%s: %v, %v", id, run.GetQueued(), err)
		}
	}
}

func TestPauses(t *testing.T) {
	s := made(t)
	since := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, pool := range []string{"db", "web", "a-b_c"} {
		if p, err := s.Paused(s.ctx(), pool); p != nil || err != nil {
			t.Errorf("%s: %v, %v", pool, p, err)
		}
		for range 2 {
			if err := s.SetPaused(s.ctx(), pool, &Pause{By: "ann", Since: since}); err != nil {
				t.Fatal(err)
			}
		}
		if p, err := s.Paused(s.ctx(), pool); err != nil || p == nil || p.By != "ann" || !p.Since.Equal(since) {
			t.Errorf("%s: %v, %v", pool, p, err)
		}
	}
	b, err := s.openBucket(s.ctx(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Set(s.ctx(), keyPaused+"hand", []byte("yes")); err != nil { // with another client
		t.Fatal(err)
	}
	for range 2 {
		if err := s.SetPaused(s.ctx(), "web", nil); err != nil {
			t.Error(err)
		}
	}
	pools, err := s.PausedPools(s.ctx())
	var names []string
	for name := range pools {
		names = append(names, name)
	}
	slices.Sort(names)
	if err != nil || strings.Join(names, " ") != "a-b_c db hand" || pools["db"].By != "ann" {
		t.Errorf("%v, %v", pools, err)
	}
	if p, err := s.Paused(s.ctx(), "hand"); err != nil || p == nil {
		t.Errorf("paused by hand: %v, %v", p, err)
	}
}

// Messages that were dropped are listed, the oldest first.
func TestConflicts(t *testing.T) {
	s := made(t)
	base := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i, id := range []string{"c", "a", "b"} {
		for range 2 { // delivered twice
			if err := s.NoteConflict(s.ctx(), Work{ID: id, Pool: "db", Priority: "low", Accepted: base.Add(time.Duration(i) * time.Second)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, err := s.Conflicts(s.ctx())
	if err != nil || len(found) != 3 || found[0] != (Conflict{"c", "db", "low", base}) || found[1].ID != "a" || found[2].ID != "b" {
		t.Errorf("%v, %v", found, err)
	}
	if err := s.DropRefusals(s.ctx(), "c"); err != nil {
		t.Error(err)
	}
	b, err := s.openBucket(s.ctx(), false)
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.GetLeader(s.ctx(), keyConflict+"a")
	if err == nil {
		err = b.Delete(s.ctx(), e.Key, e.Rev, 0)
	}
	if _, getErr := b.GetLeader(s.ctx(), keyConflict+"a"); err != nil || !errors.Is(getErr, kv.ErrNoKey) {
		t.Fatal(err, getErr)
	}
	if found, err := s.Conflicts(s.ctx()); err != nil || len(found) != 2 {
		t.Errorf("after one was removed: %v, %v", found, err)
	}
}

// Lines count what waits and what runs by pool and priority, with consumers or
// without, and know the oldest that waits.
func TestLines(t *testing.T) {
	s := made(t)
	if lines, err := s.Lines(s.ctx()); err != nil || len(lines) != 0 {
		t.Errorf("of none: %v, %v", lines, err)
	}
	s.putIn("web", "low", "w1")
	s.put("runs")
	s.record("runs", 1, pb.State_RUNNING)
	for i := range 3 {
		s.put(fmt.Sprint("n", i))
	}
	s.putIn("default", "high", "h1")
	for _, pool := range []string{"web", "idle"} {
		if err := s.SetPaused(s.ctx(), pool, &Pause{By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	oldest, err := s.Get(s.ctx(), "n0")
	if err != nil {
		t.Fatal(err)
	}
	const want = "default.high 1 0 false, default.normal 3 1 false, idle.normal 0 0 true, web.low 1 0 true"
	for _, with := range []string{"", "default", "web"} { // consumers that runners have made
		if with != "" {
			for _, priority := range []string{"high", "normal", "low"} {
				if err := s.EnsureConsumer(s.ctx(), with, priority); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines, err := s.Lines(s.ctx())
		var words []string
		for _, l := range lines {
			words = append(words, fmt.Sprintf("%s.%s %d %d %t", l.Pool, l.Priority, l.Waiting, l.Running, l.Paused))
			if l.Priority == "normal" && l.Pool == "default" && (l.Oldest == nil || !l.Oldest.Equal(oldest.Accepted) || l.OldestSeconds < 0) {
				t.Errorf("the oldest: %+v, want since %s", l, oldest.Accepted)
			}
			if l.Waiting == 0 && l.Oldest != nil {
				t.Errorf("nothing waits: %+v", l)
			}
		}
		if got := strings.Join(words, ", "); err != nil || got != want {
			t.Errorf("with consumers of %q: %s, %v, want %s", with, got, err, want)
		}
	}
}
