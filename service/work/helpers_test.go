package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// shared is the server of all tests here, each of which has a fleet of its own.
var shared *embedded.Server

// tests are all, and the server's end.
type tests struct{ *testing.M }

func (m tests) Run() int {
	var err error
	if shared, err = embedded.Start(embedded.Config{Memory: true, InProcessOnly: true}); err != nil {
		panic(err)
	}
	defer func() { _ = shared.Close() }()
	return m.M.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// site is a fleet's queue and records, without any runner.
type site struct {
	*Queue
	t     *testing.T
	js    jetstream.JetStream
	space subjects.Space
	store *store.Store
}

// fleets counts them.
var fleets atomic.Int64

func newSite(t *testing.T) *site {
	t.Helper()
	space, err := subjects.New(fmt.Sprint("fleet", fleets.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return siteOf(t, space)
}

// another is one more client of a fleet.
func (s *site) another() *site {
	s.t.Helper()
	return siteOf(s.t, s.space)
}

func siteOf(t *testing.T, space subjects.Space) *site {
	t.Helper()
	s := &site{t: t, js: rig.JetStream(t, rig.Connect(t, shared)), space: space}
	var err error
	if s.store, err = store.Open(s.ctx(), s.js, space, store.Config{}); err != nil {
		t.Fatal(err)
	}
	s.Queue = New(Config{JS: s.js, Space: space, Store: s.store})
	return s
}

// made is a site whose queue is there.
func made(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	if _, err := s.Ensure(s.ctx()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) ctx() context.Context { return rig.Within(s.t, rig.Patience) }

// request is a task with an id, and more fields of the task as JSON.
func request(t testing.TB, id, command string, fields ...string) *pb.TaskRequest {
	t.Helper()
	task := &pb.Task{}
	text, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]string{`"commands":[` + string(text) + `]`}, fields...)
	if err := pb.UnmarshalJSON([]byte("{"+strings.Join(all, ",")+"}"), task); err != nil {
		t.Fatal(err)
	}
	return &pb.TaskRequest{Kind: pb.Kind, Metadata: &pb.Metadata{Id: id}, Spec: &pb.TaskSpec{Task: task}}
}

// put stores work and gives its sequence.
func (s *site) put(id string, fields ...string) uint64 {
	s.t.Helper()
	return s.putIn(DefaultPool, DefaultPriority, id, fields...)
}

func (s *site) putIn(pool, priority, id string, fields ...string) uint64 {
	s.t.Helper()
	accepted, err := s.Put(s.ctx(), Item{Pool: pool, Priority: priority, Request: request(s.t, id, "true", fields...)})
	if err != nil {
		s.t.Fatal(err)
	}
	return accepted.Seq
}

// record stores the record of an attempt as a runner does, and gives its revision.
func (s *site) record(id string, attempt int, state pb.State, change ...func(*pb.Run)) {
	s.t.Helper()
	w, err := s.Get(s.ctx(), id)
	if err != nil && !errors.Is(err, ErrNotWaiting) {
		s.t.Fatal(err)
	}
	now := timestamppb.Now()
	run := &pb.Run{
		Id: pb.AttemptID(id, attempt), Group: id, Attempt: int32(attempt), Runner: "web1", State: state, Created: now,
		LogStream: s.space.LogStream(), LogSubject: s.space.Log("web1", pb.AttemptID(id, attempt)),
		Queued: &pb.Queued{Pool: DefaultPool, Priority: DefaultPriority, Seq: int64(w.Seq), Accepted: timestamppb.New(w.Accepted)},
	}
	begins := []pb.State{state}
	if store.Final(state) {
		run.Ended = now
		begins = []pb.State{pb.State_RUNNING, state}
	}
	for _, f := range change {
		f(run)
	}
	rev := uint64(0)
	for i, is := range begins {
		run.State = is
		if i == 0 {
			rev, err = s.store.Create(s.ctx(), run)
		} else {
			_, err = s.store.Update(s.ctx(), run, rev)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// next says that another attempt follows.
func next(run *pb.Run) { run.Next = pb.AttemptID(run.GetGroup(), int(run.GetAttempt())+1) }

func exits(code int32) func(*pb.Run) {
	return func(run *pb.Run) { run.Reason, run.ExitCode = pb.ReasonExit, code }
}

// left is how many messages the stream has.
func (s *site) left() uint64 {
	s.t.Helper()
	st, err := s.js.Stream(s.ctx(), s.space.QueueStream())
	if err != nil {
		s.t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}

// inWords is a run in a few words.
func inWords(run *pb.Run) string {
	if run == nil {
		return "none"
	}
	words := fmt.Sprint(run.GetId(), " ", run.GetState())
	if run.GetReason() != "" {
		words += " " + run.GetReason()
	}
	if waits := run.GetQueued().GetWaits(); waits != "" {
		words += " " + waits
	}
	return words
}

// at is a time of a day in 2026.
func at(t testing.TB, clock string) time.Time {
	t.Helper()
	when, err := time.Parse("15:04:05.999", clock)
	if err != nil {
		t.Fatal(err)
	}
	return time.Date(2026, 11, 26, when.Hour(), when.Minute(), when.Second(), when.Nanosecond(), time.UTC)
}
