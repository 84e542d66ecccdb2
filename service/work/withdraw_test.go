package work

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
)

// What is removed has a record that it never starts, and its message is gone; what
// runs or has ended stays, and is told.
func TestWithdraw(t *testing.T) {
	s := made(t)
	for id, f := range map[string]func(string){
		"waits": func(string) {},
		"again": func(id string) { s.record(id, 1, pb.State_COMPLETE, exits(1), next) },
		"runs":  func(id string) { s.record(id, 1, pb.State_RUNNING) },
		"ended": func(id string) { s.record(id, 1, pb.State_COMPLETE, exits(0)) },
	} {
		s.put(id, `"retries":{"max":3,"on":["exit"]}`)
		f(id)
	}
	for _, c := range []struct {
		id, want string
		waited   bool
	}{
		{"waits-a2", "none", false},
		{"again-a3", "none", false},
		{"nosuch", "none", false},
		{"waits", "waits ABORTED aborted", true},
		{"again-a2", "again-a2 ABORTED aborted", true},
		{"runs", "runs RUNNING", false},
		{"ended", "ended COMPLETE exit", false},
	} {
		run, err := s.Withdraw(s.ctx(), c.id, "because")
		if inWords(run) != c.want || (err == nil) != c.waited || err != nil && !errors.Is(err, ErrNotWaiting) {
			t.Errorf("%s: %s, %v, want %s", c.id, inWords(run), err, c.want)
		}
		if c.waited {
			record, _, err := s.store.Get(s.ctx(), run.GetId())
			if err != nil || inWords(record) != c.want || record.GetError() != "because" {
				t.Errorf("%s: its record: %v, %v", c.id, record, err)
			}
			if _, err := s.Withdraw(s.ctx(), c.id, "again"); !errors.Is(err, ErrNotWaiting) {
				t.Errorf("%s again: %v", c.id, err)
			}
		}
	}
	if n := s.left(); n != 2 {
		t.Errorf("%d messages are left, want those of runs and ended", n)
	}
}

// Work is removed while a runner claims it: one of the two wins, and both know which.
func TestWithdrawAgainstAClaim(t *testing.T) {
	s := made(t)
	for i := range 30 {
		id := fmt.Sprint("w", i)
		s.put(id)
		waiting, _, err := s.Waiting(s.ctx(), id)
		if err != nil {
			t.Fatal(err)
		}
		claim := proto.CloneOf(waiting)
		claim.State, claim.Runner, claim.Queued.Waits, claim.Queued.Why = pb.State_RUNNING, "web1", "", ""
		var wg sync.WaitGroup
		var claimed, removed error
		wg.Go(func() { _, claimed = s.store.Create(s.ctx(), claim) })
		wg.Go(func() { _, removed = s.Withdraw(s.ctx(), id, "test") })
		wg.Wait()
		run, _, err := s.store.Get(s.ctx(), id)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case claimed == nil && errors.Is(removed, ErrNotWaiting) && run.GetState() == pb.State_RUNNING:
		case errors.Is(claimed, store.ErrExists) && removed == nil && run.GetState() == pb.State_ABORTED:
		default:
			t.Errorf("claim: %v, removal: %v, then %s", claimed, removed, inWords(run))
		}
	}
}

// A purge takes all that waits in one pool, and nothing else.
func TestPurge(t *testing.T) {
	s := made(t)
	for i := range 70 { // more than are removed at a time
		s.putIn("db", []string{"high", "normal", "low"}[i%3], fmt.Sprint("db", i))
	}
	s.putIn("web", "high", "web")
	s.putIn("db", "low", "runs")
	s.record("runs", 1, pb.State_RUNNING)
	if n, err := s.Purge(s.ctx(), "nobody", "test"); n != 0 || err != nil {
		t.Errorf("of none: %d, %v", n, err)
	}
	if n, err := s.Purge(s.ctx(), "db", "test"); n != 70 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for i := range 70 {
		if run, _, err := s.store.Get(s.ctx(), fmt.Sprint("db", i)); err != nil || run.GetState() != pb.State_ABORTED {
			t.Errorf("db%d: %s, %v", i, inWords(run), err)
		}
	}
	if n := s.left(); n != 2 {
		t.Errorf("%d messages are left", n)
	}
	if n, err := s.Purge(s.ctx(), "db", "test"); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

// taken is what a runner does with work: its message is gone once its record is final.
func (s *site) taken(id string, attempt int, code int32) *pb.Run {
	s.t.Helper()
	w, err := s.Get(s.ctx(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	s.record(id, attempt, pb.State_COMPLETE, exits(code))
	if err := s.KeepFailed(s.ctx(), w); err != nil {
		s.t.Fatal(err)
	}
	if err := s.Remove(s.ctx(), w.Seq); err != nil {
		s.t.Fatal(err)
	}
	run, _, err := s.store.Get(s.ctx(), pb.AttemptID(id, attempt))
	if err != nil {
		s.t.Fatal(err)
	}
	return run
}

// Failed work can be tried again, once a failure, whatever its retries say; what is
// put back is the same request, for the attempt after the last.
func TestRetryByHand(t *testing.T) {
	s := made(t)
	s.putIn("default", "normal", "x", `"tags":{"a":"b"}`)
	first := s.taken("x", 1, 3)
	if ids, err := s.Failed(s.ctx()); err != nil || len(ids) != 1 || ids[0] != "x" {
		t.Errorf("failed: %v, %v", ids, err)
	}
	accepted, err := s.Retry(s.ctx(), first)
	if err != nil || accepted.ID != "x" {
		t.Fatalf("%+v, %v", accepted, err)
	}
	waiting, w, err := s.Waiting(s.ctx(), "x")
	if err != nil || inWords(waiting) != "x-a2 PENDING" || w.Attempt != 2 || waiting.GetTags()["a"] != "b" || waiting.GetDigest() == "" {
		t.Errorf("%v, %+v, %v", waiting, w, err)
	}
	if whole, err := s.Whole(s.ctx(), "x"); err != nil || inWords(whole) != "x-a2 PENDING" {
		t.Errorf("the whole: %s, %v", inWords(whole), err)
	}
	if _, err := s.Retry(s.ctx(), first); err == nil {
		t.Error("it is tried twice after one failure")
	}
	second := s.taken("x", 2, 4)
	if accepted, err = s.Retry(s.ctx(), second); err != nil {
		t.Fatal(err)
	}
	if _, w, err := s.Waiting(s.ctx(), "x"); err != nil || w.Attempt != 3 {
		t.Errorf("%+v, %v", w, err)
	}
	if _, err := s.Retry(s.ctx(), &pb.Run{Id: "nosuch", Group: "nosuch", Attempt: 1, Queued: &pb.Queued{}}); !errors.Is(err, ErrNoRetry) || err.Error() != "cannot try nosuch again: its request is not kept; queue it anew under another id" {
		t.Errorf("of what is not kept: %v", err)
	}
}

// What never was a task is not kept, since it never can be tried again; a request in
// protobuf is kept as it is.
func TestWhatIsKept(t *testing.T) {
	s := made(t)
	if err := s.KeepFailed(s.ctx(), Work{ID: "odd", Body: []byte("nonsense")}); err != nil {
		t.Error(err)
	}
	if ids, err := s.Failed(s.ctx()); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
	body, err := proto.Marshal(request(t, "bin", "true"))
	if err != nil {
		t.Fatal(err)
	}
	w, _ := s.Stored(stream.Message{Subject: s.space.Work("db", "low", "bin"), Data: body, Header: headerOf(body)})
	if err := s.KeepFailed(s.ctx(), w); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Retry(s.ctx(), &pb.Run{Id: "bin", Group: "bin", Attempt: 1, Queued: &pb.Queued{Pool: "db", Priority: "low"}}); err != nil {
		t.Fatal(err)
	}
	if waiting, w, err := s.Waiting(s.ctx(), "bin"); err != nil || waiting.GetError() != "" || waiting.GetId() != "bin-a2" || w.Pool != "db" || w.Priority != "low" {
		t.Errorf("%v, %v", waiting, err)
	}
}
