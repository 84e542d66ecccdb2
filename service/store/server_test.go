package store

import (
	"errors"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestServerAway: writes and waits go through a restart of the server.
func TestServerAway(t *testing.T) {
	t.Parallel()
	srv := rig.Start(t, natsserver.Options{})
	newStore := func() *Store {
		js, err := jetstream.New(rig.Dial(t, srv.ClientURL()))
		if err != nil {
			t.Fatal(err)
		}
		return openOn(t, js, Config{})
	}
	owner, s := newStore(), newStore()
	run := newRun("a", pb.State_RUNNING)
	rev := create(t, owner, run)
	ended := make(chan *pb.Run, 1)
	go func() {
		got, err := s.Wait(within(t, 60*time.Second), "a")
		if err != nil {
			t.Error(err)
		}
		ended <- got
	}()
	rig.Eventually(t, "it waits", func() bool { return consumers(t, owner) > 0 })
	srv.Stop()

	written := make(chan error, 2)
	run.State = pb.State_COMPLETE
	go func() {
		_, err := owner.Update(within(t, 60*time.Second), run, rev)
		written <- err
	}()
	go func() {
		_, err := s.Create(within(t, 60*time.Second), newRun("b", pb.State_PENDING))
		written <- err
	}()
	select {
	case err := <-written:
		t.Fatalf("a write without a server: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	srv.Again()
	for range 2 {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
	wantSame(t, <-ended, run)
}

// TestAckIsLost: a write that was stored but whose answer was lost is told from
// one that somebody else made.
func TestAckIsLost(t *testing.T) {
	t.Parallel()
	srv := rig.Start(t, natsserver.Options{})
	line := newDeafLine(t, srv.Addr().String())
	stores := make([]*Store, 2)
	for i, url := range []string{"nats://" + line.Addr().String(), srv.ClientURL()} {
		js, err := jetstream.New(rig.Dial(t, url))
		if err != nil {
			t.Fatal(err)
		}
		stores[i] = openOn(t, js, Config{})
	}
	s, other := stores[0], stores[1]
	// unheard does a write whose answer is lost after it was stored.
	unheard := func(write func() error, stored func() bool) error {
		line.deaf.Store(true)
		done := make(chan error, 1)
		go func() { done <- write() }()
		rig.Eventually(t, "it is stored", stored)
		line.cut()
		return <-done
	}
	is := func(state pb.State) func() bool {
		return func() bool {
			got, _, err := other.Get(t.Context(), "a")
			return err == nil && got.State == state
		}
	}
	run := newRun("a", pb.State_RUNNING)
	ctx := within(t, 60*time.Second)
	var rev uint64
	if err := unheard(func() (err error) { rev, err = s.Create(ctx, run); return err }, is(pb.State_RUNNING)); err != nil {
		t.Fatalf("the claim: %v", err)
	}
	if _, err := other.Create(ctx, newRun("a", pb.State_RUNNING)); !errors.Is(err, ErrExists) {
		t.Errorf("somebody else's claim: got %v, want ErrExists", err)
	}
	run.State = pb.State_COMPLETE
	if err := unheard(func() (err error) { _, err = s.Update(ctx, run, rev); return err }, is(pb.State_COMPLETE)); err != nil {
		t.Fatalf("the end: %v", err)
	}
	got, _, err := other.Get(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, got, run)
}

// TestDomain: everything works through a domain's prefix.
func TestDomain(t *testing.T) {
	t.Parallel()
	srv := rig.Start(t, natsserver.Options{JetStreamDomain: "hub"})
	js, err := jetstream.NewWithDomain(rig.Dial(t, srv.ClientURL()), "hub")
	if err != nil {
		t.Fatal(err)
	}
	s := openOn(t, js, Config{KeepCount: 1})
	run := newRun("a", pb.State_PENDING)
	rev := create(t, s, run)
	rev = move(t, s, run, rev, pb.State_RUNNING)
	if _, err := s.Update(t.Context(), run, rev-1); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	move(t, s, run, rev, pb.State_COMPLETE)
	finish(t, s, newRun("b", pb.State_RUNNING))
	if got := query(t, s, &pb.Query{All: true}).Runs; len(got) != 2 {
		t.Errorf("got %v, want two runs", ids(got))
	}
	if got := query(t, s, &pb.Query{Runs: []string{"a", "b"}}).Runs; len(got) != 2 {
		t.Errorf("got %v, want two runs", ids(got))
	}
	put(t, s, &pb.Card{Name: "one"})
	if got := cards(t, s); len(got) != 1 {
		t.Errorf("got %v, want one card", got)
	}
	if removed, err := s.Prune(t.Context()); err != nil || len(removed) != 1 || removed[0] != "a" {
		t.Errorf("removed %v, %v; want a", removed, err)
	}
	if _, err := s.Wait(within(t, 5*time.Second), "b"); err != nil {
		t.Error(err)
	}
}

// TestThreeReplicas: two stores on different servers of a cluster, each asked
// for what the other one has just written.
func TestThreeReplicas(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	servers := rig.Cluster(t, 3)
	var jss []jetstream.JetStream
	for _, srv := range servers {
		js, err := jetstream.New(rig.Dial(t, srv.ClientURL()))
		if err != nil {
			t.Fatal(err)
		}
		jss = append(jss, js)
	}
	stores := make([]*Store, 3)
	var wg sync.WaitGroup
	for i, js := range jss {
		wg.Go(func() {
			space, err := subjects.New("")
			if err == nil {
				stores[i], err = Open(t.Context(), js, space, Config{Replicas: 3})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i := range 60 {
		s, other := stores[i%3], stores[(i+1)%3]
		run := newRun(name(i), pb.State_PENDING)
		rev := create(t, s, run)
		if _, _, err := other.Get(t.Context(), run.Id); err != nil {
			t.Fatalf("a run that was accepted: %v", err)
		}
		if got := query(t, stores[(i+2)%3], &pb.Query{Runs: []string{run.Id, run.Id}}); len(got.Runs) != 1 {
			t.Fatalf("a run that was accepted isn't found")
		}
		if _, err := other.Create(t.Context(), newRun(run.Id, pb.State_PENDING)); !errors.Is(err, ErrExists) {
			t.Fatalf("got %v, want ErrExists", err)
		}
		rev = move(t, s, run, rev, pb.State_RUNNING)
		move(t, s, run, rev, pb.State_COMPLETE)
		lost := newRun(run.Id, pb.State_FAILED)
		if _, err := other.Update(t.Context(), lost, rev); !errors.Is(err, ErrFinal) {
			t.Fatalf("got %v, want ErrFinal", err)
		}
	}
	rig.Eventually(t, "every replica has all", func() bool {
		return len(query(t, stores[1], &pb.Query{All: true, States: []pb.State{pb.State_COMPLETE}}).Runs) == 60
	})
}
