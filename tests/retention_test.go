package tests

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

// Logs are gone after their age, without anybody asking for it, and the server
// keeps nothing of them.
func TestWhatIsOldIsGone(t *testing.T) {
	runs, age, long := 300, 2*time.Second, os.Getenv("RUNNEL_LONG") != ""
	if long {
		runs, age = 10000, 20*time.Second
	}
	server := fleet.New(t, service.Config{
		Name: "web1", LogMaxAge: age, Settings: service.Settings{Slots: 16},
	})
	nc := server.Conn()
	c := fleet.Client(t, nc)

	var left atomic.Int64
	left.Store(int64(runs))
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				result, err := c.Run(t.Context(), client.Target{On: "web1"}, &pb.TaskRequest{Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"echo", "x"}}}}, client.RunEvents{})
				if err != nil || result.End().Lines != 1 {
					t.Errorf("got %+v, %v", result, err)
					return
				}
			}
		})
	}
	workers.Wait()

	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	// A final record is the server's to remove, in a day at least; package store waits for that.
	bucket, err := js.Stream(t.Context(), "KV_runner_runs")
	if err != nil {
		t.Fatal(err)
	}
	last, err := bucket.GetLastMsgForSubject(t.Context(), "$KV.runner_runs.>")
	if err != nil || last.Header.Get(jetstream.MsgTTLHeader) != store.DefaultRetention.String() {
		t.Errorf("the last record has the header %v, %v", last, err)
	}
	stored := func() string {
		log, err := js.Stream(t.Context(), "RUNNER_LOG")
		if err != nil {
			t.Fatal(err)
		}
		if state := log.CachedInfo().State; state.Msgs > 0 {
			return fmt.Sprintf("there are %d messages", state.Msgs)
		}
		return ""
	}
	if stored() == "" {
		t.Error("nothing was stored")
	}
	for deadline := time.Now().Add(age + 3*time.Minute); ; time.Sleep(100 * time.Millisecond) {
		what := stored()
		if what == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("minutes after their age: %s", what)
		}
	}
}
