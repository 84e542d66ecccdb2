package store

import (
	"context"
	"errors"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestRemovedIDIsRefused: the id of a run that was removed can't be used again for
// a day, whoever removed it; one that has outlived its time can.
func TestRemovedIDIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, server(t), Config{})
	finish(t, s, newRun("a", pb.State_RUNNING))
	finish(t, s, newRun("b", pb.State_RUNNING))
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.runs.KV().Delete(t.Context(), "b"); err != nil { // as "nats kv del" does
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if _, err := s.Create(t.Context(), newRun(id, pb.State_PENDING)); !errors.Is(err, ErrRemoved) {
			t.Errorf("%s: got %v, want ErrRemoved", id, err)
		}
		if _, _, err := s.Get(t.Context(), id); !errors.Is(err, ErrUnknownRun) {
			t.Errorf("%s: got %v, want ErrUnknownRun", id, err)
		}
	}
	marker, err := s.runs.GetLeader(t.Context(), "a")
	if ttl, parseErr := time.ParseDuration(marker.Header.Get(jetstream.MsgTTLHeader)); parseErr != nil || ttl != RemovedFor {
		t.Errorf("the marker %+v (%v) isn't kept for a day: %v", marker, err, parseErr)
	}
}

// TestRemoveAsksFirst: who may not remove the record doesn't remove the output.
func TestRemoveAsksFirst(t *testing.T) {
	t.Parallel()
	srv := rig.Start(t, natsserver.Options{StoreDir: t.TempDir(), Port: -1, Users: []*natsserver.User{
		{Username: "runner", Password: "x"},
		{Username: "reader", Password: "x", Permissions: &natsserver.Permissions{Publish: &natsserver.SubjectPermission{Deny: []string{"$KV.>"}}}},
	}})
	as := func(user string, purge func(context.Context, *pb.Run) error) *Store {
		nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo(user, "x"), nats.ReconnectBufSize(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return openOn(t, js, Config{PurgeLog: purge})
	}
	runner := as("runner", nil)
	finish(t, runner, newRun("a", pb.State_RUNNING))
	purged := false
	reader := as("reader", func(context.Context, *pb.Run) error { purged = true; return nil })
	began := time.Now()
	err := reader.Remove(within(t, 2*time.Minute), "a")
	if !errors.Is(err, nats.ErrPermissionViolation) || time.Since(began) > time.Minute {
		t.Errorf("got %v after %s, want a refusal at once", err, time.Since(began))
	}
	if _, _, err := runner.Get(t.Context(), "a"); err != nil || purged {
		t.Errorf("the record: %v; the output is removed: %t", err, purged)
	}
	// And who may not remove the output leaves the record.
	refused := errors.New("no")
	if err := as("runner", func(context.Context, *pb.Run) error { return refused }).Remove(t.Context(), "a"); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if _, _, err := runner.Get(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}
