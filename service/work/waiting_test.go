package work

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig"
)

// What waits, and what an id means, by the records that its attempts have.
func TestWhatWaits(t *testing.T) {
	s := made(t)
	for id, f := range map[string]func(id string){
		"fresh":    func(string) {},
		"claimed":  func(id string) { s.record(id, 1, pb.State_PENDING) },
		"runs":     func(id string) { s.record(id, 1, pb.State_RUNNING) },
		"ended":    func(id string) { s.record(id, 1, pb.State_COMPLETE, exits(0)) },
		"failed":   func(id string) { s.record(id, 1, pb.State_COMPLETE, exits(3)) },
		"again":    func(id string) { s.record(id, 1, pb.State_COMPLETE, exits(3), next) },
		"running2": func(id string) { s.record(id, 1, pb.State_COMPLETE, exits(3), next); s.record(id, 2, pb.State_RUNNING) },
		"again3":   func(id string) { s.record(id, 1, pb.State_FAILED, next); s.record(id, 2, pb.State_TIMEDOUT, next) },
	} {
		s.put(id, `"retries":{"max":5,"on":["exit"],"backoff":"1h"}`)
		f(id)
	}
	for id, want := range map[string][2]string{ // what waits, and what is meant
		"fresh":    {"fresh PENDING", "fresh PENDING"},
		"claimed":  {"none", "claimed PENDING"},
		"runs":     {"none", "runs RUNNING"},
		"ended":    {"none", "ended COMPLETE exit"},
		"failed":   {"none", "failed COMPLETE exit"},
		"again":    {"again-a2 PENDING", "again-a2 PENDING"},
		"running2": {"none", "running2-a2 RUNNING"},
		"again3":   {"again3-a3 PENDING", "again3-a3 PENDING"},
		"nobody":   {"none", "none"},
		// An attempt's id means that attempt alone.
		"again-a2":    {"none", "again-a2 PENDING"},
		"again-a3":    {"none", "none"},
		"again3-a2":   {"none", "again3-a2 TIMEDOUT"},
		"again3-a3":   {"none", "again3-a3 PENDING"},
		"running2-a2": {"none", "running2-a2 RUNNING"},
		"fresh-a2":    {"none", "none"},
	} {
		run, w, err := s.Waiting(s.ctx(), id)
		if err != nil && !errors.Is(err, ErrNotWaiting) {
			t.Errorf("%s: %v", id, err)
		}
		got := "none"
		if err == nil {
			if got = inWords(run); w.ID != id {
				t.Errorf("%s: the message of %s", id, w.ID)
			}
		}
		whole, err := s.Whole(s.ctx(), id)
		if err != nil && !errors.Is(err, store.ErrUnknownRun) {
			t.Errorf("%s: %v", id, err)
		}
		if got != want[0] || inWords(whole) != want[1] {
			t.Errorf("%s: waits %q, means %q, want %q", id, got, inWords(whole), want)
		}
	}
}

// Of several ids those are found that wait, with the reason; one that nobody knows is
// an error.
func TestWaitingAmong(t *testing.T) {
	s := made(t)
	s.put("waits")
	s.put("ran")
	s.record("ran", 1, pb.State_COMPLETE, exits(0))
	s.put("again")
	s.record("again", 1, pb.State_COMPLETE, exits(1), next)
	for ids, want := range map[string]string{
		"waits":              "waits PENDING runner",
		"ran":                "",
		"ran waits again-a2": "waits PENDING runner, again-a2 PENDING runner",
		"again":              "",
		"waits nosuch":       "unknown run id nosuch",
		"again-a3":           "unknown run id again-a3",
		"waits-a2":           "unknown run id waits-a2",
	} {
		found, err := s.WaitingAmong(s.ctx(), strings.Fields(ids))
		var words []string
		for _, run := range found {
			words = append(words, inWords(run))
		}
		got := strings.Join(words, ", ")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", ids, got, want)
		}
	}
}

// ids are those of what Each lists.
func (s *site) ids(pool string, from uint64) (found []string) {
	s.t.Helper()
	if err := s.EachFrom(s.ctx(), pool, from, func(run *pb.Run, w Work) bool {
		if run.GetGroup() != w.ID {
			s.t.Errorf("%s is of %s", run.GetId(), w.ID)
		}
		found = append(found, run.GetId())
		return true
	}); err != nil {
		s.t.Fatal(err)
	}
	return found
}

// Lists are in the order of acceptance, over pools and priorities; what runs is left
// out, and what a stranger has put there that is no task is in.
func TestEach(t *testing.T) {
	s := made(t)
	s.putIn("db", "low", "a")
	s.putIn("web", "high", "b")
	third := s.putIn("db", "high", "c")
	s.putIn("db", "normal", "d")
	s.putIn("db", "normal", "e")
	s.record("d", 1, pb.State_RUNNING)
	s.record("e", 1, pb.State_COMPLETE, exits(1), next)
	if _, err := s.js.Publish(s.ctx(), s.space.Work("web", "low", "odd"), []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pool string
		from uint64
		want string
	}{{"", 1, "a b c e-a2 odd"}, {"*", 1, "a b c e-a2 odd"}, {"db", 1, "a c e-a2"}, {"web", 1, "b odd"}, {"nobody", 1, ""}, {"", third, "c e-a2 odd"}, {"", 999, ""}} {
		if got := strings.Join(s.ids(c.pool, c.from), " "); got != c.want {
			t.Errorf("%q from %d: %s, want %s", c.pool, c.from, got, c.want)
		}
	}
	seen := 0
	if err := s.Each(s.ctx(), "", func(*pb.Run, Work) bool { seen++; return seen < 2 }); err != nil || seen != 2 {
		t.Errorf("it went on: %d, %v", seen, err)
	}
}

// The newest are found wherever they are: near the end, or far from it.
func TestNewest(t *testing.T) {
	s := made(t)
	var all []string
	for i := range 90 {
		id := fmt.Sprintf("w%03d", i)
		tag := `"tags":{"n":"common"}`
		if i < 2 {
			tag = `"tags":{"n":"rare"}`
		}
		s.put(id, tag)
		all = append(all, id)
	}
	slices.Reverse(all)
	tagged := func(value string) func(*pb.Run) bool {
		return func(run *pb.Run) bool { return run.GetTags()["n"] == value }
	}
	for _, c := range []struct {
		limit   int
		matches func(*pb.Run) bool
		want    []string
	}{
		{3, func(*pb.Run) bool { return true }, all[:3]},
		{1, tagged("rare"), []string{"w001"}},
		{9, tagged("rare"), []string{"w001", "w000"}},
		{100, func(*pb.Run) bool { return true }, all},
		{5, tagged("no"), nil},
	} {
		found, err := s.Newest(s.ctx(), c.limit, c.matches)
		var ids []string
		for _, run := range found {
			ids = append(ids, run.GetId())
		}
		if err != nil || !slices.Equal(ids, c.want) {
			t.Errorf("%d: %v, %v, want %v", c.limit, ids, err, c.want)
		}
	}
	empty := made(t)
	if found, err := empty.Newest(empty.ctx(), 3, func(*pb.Run) bool { return true }); err != nil || len(found) != 0 {
		t.Errorf("of none: %v, %v", found, err)
	}
}

// Work that has expired gets its record by whoever lists it or asks for it, once, and
// is gone from the stream.
func TestExpiredIsRecorded(t *testing.T) {
	s := made(t)
	for _, id := range []string{"listed", "asked"} {
		s.put(id, `"expires":"1ms"`)
	}
	s.put("lasts", `"expires":"1h"`)
	s.put("ran", `"expires":"1ms"`)
	s.record("ran", 1, pb.State_RUNNING) // it began in time
	var run *pb.Run
	rig.Eventually(t, "what is asked for has expired", func() bool {
		var err error
		run, err = s.Whole(s.ctx(), "asked")
		return err == nil && run.GetState() == pb.State_FAILED
	})
	if run.GetReason() != pb.ReasonExpired || run.GetError() != "waited in the queue for more than 1ms" {
		t.Errorf("%v", run)
	}
	if got := strings.Join(s.ids("", 1), " "); got != "lasts" {
		t.Errorf("listed: %s", got)
	}
	for id, want := range map[string]string{"listed": "listed FAILED expired", "asked": "asked FAILED expired", "ran": "ran RUNNING"} {
		if run, _, err := s.store.Get(s.ctx(), id); err != nil || inWords(run) != want {
			t.Errorf("%s: %s, %v", id, inWords(run), err)
		}
	}
	if n := s.left(); n != 2 {
		t.Errorf("%d messages are left", n)
	}
	if _, err := s.Withdraw(s.ctx(), "asked", "test"); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("removing it: %v", err)
	}
}

// A second attempt does not outlive the work's time to wait either.
func TestExpiresBetweenAttempts(t *testing.T) {
	s := made(t)
	s.put("x", `"expires":"1ms"`, `"retries":{"max":3,"on":["exit"]}`)
	s.record("x", 1, pb.State_COMPLETE, exits(1), next)
	rig.Eventually(t, "the second attempt has expired", func() bool {
		run, err := s.Whole(s.ctx(), "x")
		return err == nil && inWords(run) == "x-a2 FAILED expired"
	})
}

// Whole agrees with a model, whatever the attempts came to.
func TestWholeAgreesWithModel(t *testing.T) {
	s := made(t)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 40 {
		id := fmt.Sprintf("m%02d", i)
		s.put(id, `"retries":{"max":9,"on":["exit"],"backoff":"1h"}`)
		want := id + " PENDING"
		for attempt := 1; attempt <= 4; attempt++ {
			this := pb.AttemptID(id, attempt)
			switch random.IntN(4) {
			case 0: // it waits
				want = this + " PENDING"
			case 1:
				s.record(id, attempt, pb.State_RUNNING)
				want = this + " RUNNING"
			case 2:
				s.record(id, attempt, pb.State_ABORTED)
				want = this + " ABORTED"
			default:
				s.record(id, attempt, pb.State_COMPLETE, exits(1), next)
				want = pb.AttemptID(id, attempt+1) + " PENDING"
				continue
			}
			break
		}
		if run, err := s.Whole(s.ctx(), id); err != nil || inWords(run) != want {
			t.Errorf("%s: %s, %v, want %s", id, inWords(run), err, want)
		}
	}
}
