//go:build unix

package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/tests/rig"
)

// A runner that is ended before it has said that it is ready lets the runs finish
// that it has accepted by then.
func TestEndedWhileItStarts(t *testing.T) {
	server := rig.Start(t, natsserver.Options{JetStream: true, StoreDir: t.TempDir()})
	nc := rig.Dial(t, server.ClientURL())
	for range 3 {
		cmd := exec.Command(rig.Program(t), "serve", "--server", server.ClientURL(), "--name", "a", "--data", t.TempDir())
		home := t.TempDir()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_DATA_HOME=" + home}
		serve := rig.Run(t, cmd)
		id := nats.NewInbox()[len(nats.InboxPrefix):]
		ask := []byte(`{"kind":"runner","metadata":{"id":"` + id + `"},"spec":{"task":{"commands":["sleep 1; echo done"]}}}`)
		deadline := time.Now().Add(time.Minute)
		for {
			reply, err := nc.Request("runner.task.at.a", ask, time.Minute)
			if err == nil && reply.Header.Get("Nats-Service-Error") == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not accepted: %v %v\n%s", reply, err, serve.Output())
			}
			time.Sleep(time.Millisecond) // nobody is there yet
		}
		serve.Signal(syscall.SIGTERM)
		if code := serve.Wait(); code != 0 {
			t.Errorf("serve ends with %d\n%s", code, serve.Output())
		}
		var run struct {
			State string
			Lines int
		}
		if err := json.Unmarshal(record(t, nc, id), &run); err != nil || run.State != "COMPLETE" || run.Lines != 1 {
			t.Errorf("got %+v, %v\n%s", run, err, serve.Output())
		}
	}
}

func record(t *testing.T, nc *nats.Conn, id string) []byte {
	t.Helper()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	runs, err := js.KeyValue("runner_runs")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := runs.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return entry.Value()
}
