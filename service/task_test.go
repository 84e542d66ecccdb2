package service_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
)

// A stranger with only a NATS client runs a command and reads its lines.
func TestTaskByAnyClient(t *testing.T) {
	f := newFleet(t)
	f.start(service.Config{})
	reply := f.ask("runner.task.any", `{"kind":"runner","spec":{"task":{"commands":["echo out; echo err >&2; exit 3"]}}}`)
	if reply.Header.Get("Nats-Service-Error") != "" {
		t.Fatalf("refused: %s", reply.Data)
	}
	records := f.log(reply.at("run", "logSubject").(string))
	end := records[len(records)-1]
	if end["tag"] != "EOF" || end["exitCode"] != float64(3) || end["state"] != "COMPLETE" || end["lines"] != float64(2) {
		t.Errorf("got end %v", end)
	}
	var text []string
	for _, r := range records[:len(records)-1] {
		text = append(text, r["message"].(string))
	}
	if got := strings.Join(text, " "); got != "out err" && got != "err out" {
		t.Errorf("got lines %q", got)
	}
}

// log reads a run's records from the stream until EOF, knowing only the wire.
func (f *fleet) log(subject string) []map[string]any {
	f.t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		f.t.Fatal(err)
	}
	sub, err := js.SubscribeSync(subject, nats.OrderedConsumer(), nats.BindStream("RUNNER_LOG"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	var records []map[string]any
	for {
		msg, err := sub.NextMsg(20 * time.Second)
		if err != nil {
			f.t.Fatalf("after %d records of %s: %v", len(records), subject, err)
		}
		for line := range strings.Lines(string(msg.Data)) {
			var r map[string]any
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				f.t.Fatalf("%q: %v", line, err)
			}
			records = append(records, r)
			if r["tag"] == "EOF" {
				return records
			}
		}
	}
}
