package store

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestTwoOpenAtOnce(t *testing.T) {
	t.Parallel()
	for range 10 {
		srv := server(t)
		space, err := subjects.New("acme.runner")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 6 {
			nc, err := srv.Connect()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				if _, err := Open(t.Context(), js, space, Config{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// TestOpenAdopts: buckets that were made by hand are used, with what is missing added.
func TestOpenAdopts(t *testing.T) {
	t.Parallel()
	srv := server(t)
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "runner_runs", History: 3, Description: "by hand", MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s := openOn(t, js, Config{Retention: time.Second, least: time.Second})
	finish(t, s, newRun("a", pb.State_RUNNING))
	finish(t, s, newRun("b", pb.State_RUNNING))
	reply := query(t, s, &pb.Query{All: true, States: []pb.State{pb.State_RUNNING, pb.State_COMPLETE}})
	if len(reply.Runs) != 2 || reply.Runs[0].State != pb.State_COMPLETE {
		t.Errorf("got %v, want each run once, as it is last", reply.Runs)
	}
	rig.Eventually(t, "the records are gone after their time", func() bool {
		return len(query(t, s, &pb.Query{All: true}).Runs) == 0
	})
	status, err := kv.Status(t.Context())
	if err != nil || status.History() != 2 || status.(*jetstream.KeyValueBucketStatus).StreamInfo().Config.MaxBytes != 1<<20 {
		t.Errorf("want the limit that was set by hand, and no history: %+v, %v", status, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{Retention: 5 * time.Second}, {Retention: 23 * time.Hour}, {Retention: 48 * time.Hour, LogAge: 72 * time.Hour}, {KeepCount: -1}, {Replicas: -1}} {
		if _, err := Open(t.Context(), nil, subjects.Space{}, cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
