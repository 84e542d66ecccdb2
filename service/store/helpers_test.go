package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a NATS server that is gone after the test.
func server(t testing.TB) *embedded.Server {
	t.Helper()
	return rig.Memory(t)
}

// open opens a store on a connection of its own.
func open(t testing.TB, s *embedded.Server, cfg Config) *Store {
	t.Helper()
	nc := rig.Connect(t, s, nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	return openOn(t, rig.JetStream(t, nc), cfg)
}

func openOn(t testing.TB, js jetstream.JetStream, cfg Config) *Store {
	t.Helper()
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	store, err := Open(t.Context(), js, space, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// within bounds a call that should not hang.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func newRun(id string, state pb.State) *pb.Run {
	return &pb.Run{Id: id, Runner: "one", Name: "nightly", State: state, Instance: "i1",
		LogStream: "RUNNER_LOG", LogSubject: "runner.log.one." + id,
		Created: timestamppb.Now(), Attempt: 1, Tags: map[string]string{"team": "blue"}}
}

func create(t testing.TB, s *Store, run *pb.Run) uint64 {
	t.Helper()
	rev, err := s.Create(within(t, 10*time.Second), run)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// move writes run in another state.
func move(t testing.TB, s *Store, run *pb.Run, rev uint64, to pb.State) uint64 {
	t.Helper()
	run.State = to
	next, err := s.Update(within(t, 10*time.Second), run, rev)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// finish makes a run that has ended.
func finish(t testing.TB, s *Store, run *pb.Run) {
	t.Helper()
	run.State = pb.State_RUNNING
	rev := create(t, s, run)
	run.Reason, run.Ended = pb.ReasonExit, timestamppb.Now()
	move(t, s, run, rev, pb.State_COMPLETE)
}

func query(t testing.TB, s *Store, q *pb.Query) *pb.QueryReply {
	t.Helper()
	reply, err := s.Query(within(t, 40*time.Second), q)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func ids(runs []*pb.Run) []string {
	got := []string{}
	for _, r := range runs {
		got = append(got, r.GetId())
	}
	return got
}

// wantSame compares messages.
func wantSame(t testing.TB, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// consumers counts what reads a store's buckets.
func consumers(t testing.TB, s *Store) int {
	t.Helper()
	n := 0
	for _, b := range []*kv.Bucket{s.runs, s.fleet} {
		info, err := b.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += info.State.Consumers
	}
	return n
}

func name(i int) string { return fmt.Sprintf("r%05d", i) }

func putCard(t testing.TB, s *Store, card *pb.Card) error {
	t.Helper()
	return rig.PutCard(t.Context(), rig.JetStream(t, s.runs.Conn()), card)
}
