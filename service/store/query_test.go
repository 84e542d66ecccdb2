package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestQueryByID(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	for i := range 3 {
		finish(t, s, newRun(name(i), pb.State_RUNNING))
	}
	create(t, s, newRun("live", pb.State_PENDING))
	for _, c := range []struct {
		query *pb.Query
		want  []string
	}{
		{&pb.Query{Runs: []string{"r00001"}}, []string{"r00001"}},
		{&pb.Query{Runs: []string{"r00001", "live", "r00002", "r00001"}}, []string{"live", "r00002", "r00001"}},
		{&pb.Query{Runs: []string{"r00001", "live"}, States: []pb.State{pb.State_PENDING, pb.State_FAILED}}, []string{"live"}},
		{&pb.Query{Runs: []string{"r00001", "live"}, States: []pb.State{pb.State_FAILED}}, nil},
		{&pb.Query{Runs: []string{"r00001"}, Tags: map[string]string{"team": "blue"}}, []string{"r00001"}},
		{&pb.Query{Runs: []string{"r00001"}, Tags: map[string]string{"team": "red"}}, nil},
		{&pb.Query{Runs: []string{"r00001"}, Tags: map[string]string{"team": "red"}, Wait: "20s"}, nil},
		{&pb.Query{Runs: []string{"r00001", "live"}, All: true, States: []pb.State{pb.State_COMPLETE}}, []string{"r00002", "r00001", "r00000"}},
		{&pb.Query{}, nil},
		{&pb.Query{Wait: "20s"}, nil},
	} {
		began := time.Now()
		if got := ids(query(t, s, c.query).Runs); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%v: got %v, want %v", c.query, got, c.want)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v waited for what can't be", c.query)
		}
	}
	for _, ids := range [][]string{{"nobody"}, {"live", "nobody", "nothing"}, {"*"}, {"live", "a.b"}} {
		_, err := s.Query(t.Context(), &pb.Query{Runs: ids, Wait: "20s"})
		if !errors.Is(err, ErrUnknownRun) || !strings.HasPrefix(err.Error(), "unknown run id ") {
			t.Errorf("%q: got %v, want unknown run id", ids, err)
		}
	}
	if n := consumers(t, s); n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestQueryManyIDs(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	fill(t, s, 1200)
	var all []string
	for i := range 1200 {
		all = append(all, "01JABCDEFGHJKMNPQRSTV"+name(i)[1:])
	}
	var got []string
	next := ""
	for {
		reply := query(t, s, &pb.Query{Runs: all, Limit: 1000, Next: next})
		got = append(got, ids(reply.Runs)...)
		if next = reply.Next; next == "" {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("got %d runs, want %d, each once", len(got), len(all))
	}
}

// asked starts a query and returns when it waits.
func asked(t *testing.T, s *Store, q *pb.Query) <-chan *pb.QueryReply {
	t.Helper()
	before := len(s.waits)
	reply := make(chan *pb.QueryReply, 1)
	ctx := within(t, 40*time.Second)
	go func() {
		r, err := s.Query(ctx, q)
		if err != nil {
			t.Error(err)
		}
		reply <- r
	}()
	rig.Eventually(t, "the query waits", func() bool { return len(s.waits) > before && consumers(t, s) > before })
	return reply
}

func TestQueryWaitsForAState(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	run := newRun("a", pb.State_PENDING)
	rev := create(t, owner, run)
	create(t, owner, newRun("b", pb.State_PENDING))
	complete := asked(t, s, &pb.Query{Runs: []string{"a", "b"}, States: []pb.State{pb.State_COMPLETE}, Wait: "30s"})
	rev = move(t, owner, run, rev, pb.State_RUNNING)
	run.ExitCode = 3
	move(t, owner, run, rev, pb.State_COMPLETE)
	reply := <-complete
	if got := ids(reply.GetRuns()); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("got %v, want a", got)
	}
	wantSame(t, reply.Runs[0], run)
	rig.Eventually(t, "no consumer is left", func() bool { return consumers(t, s) == 0 })
}

func TestQueryWaitsForAnyRun(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	finish(t, owner, newRun("old", pb.State_RUNNING))
	reply := asked(t, s, &pb.Query{All: true, Tags: map[string]string{"n": "1"}, States: []pb.State{pb.State_RUNNING}, Wait: "30s"})
	create(t, owner, newRun("other", pb.State_RUNNING))
	want := newRun("new", pb.State_PENDING)
	want.Tags["n"] = "1"
	rev := create(t, owner, want)
	move(t, owner, want, rev, pb.State_RUNNING)
	if got := ids((<-reply).GetRuns()); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %v, want new", got)
	}
}

func TestQueryGivesUpAfterItsWait(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	create(t, s, newRun("a", pb.State_PENDING))
	for _, q := range []*pb.Query{
		{Runs: []string{"a"}, States: []pb.State{pb.State_COMPLETE}, Wait: "100ms"},
		{All: true, States: []pb.State{pb.State_COMPLETE}, Wait: "100ms"},
	} {
		if reply := query(t, s, q); len(reply.Runs) != 0 {
			t.Errorf("%v: got %v, want none", q, ids(reply.Runs))
		}
	}
	rig.Eventually(t, "no consumer is left", func() bool { return consumers(t, s) == 0 })
}

// TestWaitForWhatCannotBe: the record comes back at once when no listed run can
// match any more, and not before.
func TestWaitForWhatCannotBe(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	a, b := newRun("a", pb.State_RUNNING), newRun("b", pb.State_RUNNING)
	revA, revB := create(t, owner, a), create(t, owner, b)
	if got := query(t, s, &pb.Query{Runs: []string{"a"}, States: []pb.State{pb.State_PENDING}, Wait: "30s"}); len(got.Runs) != 1 || got.Runs[0].State != pb.State_RUNNING {
		t.Errorf("waiting for PENDING of a running run: got %v", got)
	}
	reply := asked(t, s, &pb.Query{Runs: []string{"a", "b"}, States: []pb.State{pb.State_ABORTED}, Wait: "30s"})
	move(t, owner, a, revA, pb.State_COMPLETE)
	select {
	case r := <-reply:
		t.Fatalf("got %v while b could still be aborted", ids(r.Runs))
	default:
	}
	move(t, owner, b, revB, pb.State_FAILED)
	if got := ids((<-reply).GetRuns()); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("got %v, want b and a as they ended", got)
	}
	final := query(t, s, &pb.Query{Runs: []string{"a"}, States: []pb.State{pb.State_ABORTED}, Wait: "30s"})
	if len(final.Runs) != 1 || final.Runs[0].State != pb.State_COMPLETE {
		t.Errorf("got %v, want the final record", final)
	}
	if none := query(t, s, &pb.Query{Runs: []string{"a"}, States: []pb.State{pb.State_ABORTED}}); len(none.Runs) != 0 {
		t.Errorf("without waiting: got %v, want none", ids(none.Runs))
	}
}

func TestWaitForARunThatIsRemoved(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	rev := create(t, owner, newRun("a", pb.State_RUNNING))
	done := make(chan error, 1)
	go func() {
		_, err := s.Wait(within(t, 30*time.Second), "a")
		done <- err
	}()
	rig.Eventually(t, "it waits", func() bool { return consumers(t, owner) > 0 })
	if err := owner.runs.Delete(t.Context(), "a", rev, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrUnknownRun) {
		t.Errorf("got %v, want ErrUnknownRun", err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	run := newRun("a", pb.State_PENDING)
	rev := create(t, owner, run)
	ended := make(chan *pb.Run, 1)
	go func() {
		got, err := s.Wait(within(t, 30*time.Second), "a")
		if err != nil {
			t.Error(err)
		}
		ended <- got
	}()
	rig.Eventually(t, "it waits", func() bool { return consumers(t, s) > 0 })
	rev = move(t, owner, run, rev, pb.State_RUNNING)
	if got, err := s.Wait(within(t, 5*time.Second), "a", pb.State_RUNNING); err != nil || got.State != pb.State_RUNNING {
		t.Errorf("got %v, %v; want RUNNING", got, err)
	}
	move(t, owner, run, rev, pb.State_ABORTED)
	wantSame(t, <-ended, run)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	create(t, owner, newRun("b", pb.State_PENDING))
	if _, err := s.Wait(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	rig.Eventually(t, "no consumer is left", func() bool { return consumers(t, s) == 0 })
}

// TestCallerGoes: a caller that drops its query ends it at once, and nothing of
// it stays, however much was on its way to it.
func TestCallerGoes(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s, owner := open(t, srv, Config{}), open(t, srv, Config{})
	run := newRun("a", pb.State_RUNNING)
	rev := create(t, owner, run)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Query(ctx, &pb.Query{All: true, States: []pb.State{pb.State_TIMEDOUT}, Wait: "30s"})
		done <- err
	}()
	rig.Eventually(t, "it waits", func() bool { return len(s.waits) == 1 })
	for range 400 {
		rev = move(t, owner, run, rev, pb.State_RUNNING)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	rig.Eventually(t, "no consumer is left", func() bool { return consumers(t, s) == 0 })
	if len(s.waits) != 0 {
		t.Error("its place is still taken")
	}
}

func TestTooManyQueries(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	create(t, s, newRun("a", pb.State_PENDING))
	for range cap(s.waits) {
		s.waits <- struct{}{}
	}
	waiting := &pb.Query{Runs: []string{"a"}, States: []pb.State{pb.State_COMPLETE}, Wait: "5s"}
	if _, err := s.Query(t.Context(), waiting); !errors.Is(err, ErrBusy) {
		t.Errorf("the 65th wait: got %v, want ErrBusy", err)
	}
	if got := query(t, s, &pb.Query{Runs: []string{"a"}}); len(got.Runs) != 1 {
		t.Error("waits are in the way of a query that doesn't wait")
	}
	for range cap(s.scans) {
		s.scans <- struct{}{}
	}
	if _, err := s.Query(t.Context(), &pb.Query{All: true}); !errors.Is(err, ErrBusy) {
		t.Errorf("the 5th list: got %v, want ErrBusy", err)
	}
	if cap(s.waits) != 64 || cap(s.scans) != 4 {
		t.Errorf("%d waits and %d lists at a time, want 64 and 4", cap(s.waits), cap(s.scans))
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	for _, next := range []string{"x", "&&&", "MSAyIDM", "MSAyIGEuYg"} {
		if _, err := s.Query(t.Context(), &pb.Query{All: true, Next: next}); next != "MSAyIDM" && !errors.Is(err, ErrBadNext) {
			t.Errorf("next %q: got %v, want ErrBadNext", next, err)
		}
	}
	var bad *pb.InvalidError
	if _, err := s.Query(t.Context(), &pb.Query{All: true, Wait: "5"}); !errors.As(err, &bad) {
		t.Errorf("got %v, want an InvalidError", err)
	}
}

// TestClockAhead: a runner whose clock is days ahead can't stay on top of every list.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	wrong := newRun("wrong", pb.State_RUNNING)
	wrong.Created = timestamppb.New(time.Now().Add(100 * time.Hour))
	finish(t, s, wrong)
	finish(t, s, newRun("right", pb.State_RUNNING))
	if got := ids(query(t, s, &pb.Query{All: true}).Runs); !slices.Equal(got, []string{"right", "wrong"}) {
		t.Errorf("got %v, want right before wrong", got)
	}
}

// TestQueryByRunnerAndGroup: both narrow a list, alone and together with others.
func TestQueryByRunnerAndGroup(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	for i, run := range []struct{ runner, group string }{{"one", ""}, {"two", "g"}, {"one", "g"}, {"two", ""}} {
		r := newRun(name(i), pb.State_RUNNING)
		r.Runner, r.Group = run.runner, run.group
		create(t, s, r)
	}
	for _, c := range []struct {
		query *pb.Query
		want  []string
	}{
		{&pb.Query{Runner: "one"}, []string{name(2), name(0)}},
		{&pb.Query{Group: "g"}, []string{name(2), name(1)}},
		{&pb.Query{Runner: "one", Group: "g"}, []string{name(2)}},
		{&pb.Query{Runner: "three"}, nil},
		{&pb.Query{Runner: "two", Tags: map[string]string{"team": "red"}}, nil},
	} {
		c.query.All = true
		if got := ids(query(t, s, c.query).Runs); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.query, got, c.want)
		}
	}
}
