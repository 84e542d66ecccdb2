package service_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// A card says what runs within about a second, not at the next heartbeat alone,
// and knows the clock from the first one on.
func TestCardFollowsTheLoad(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newFleet(t)
	f.start(service.Config{CardInterval: time.Hour, OfflineAfter: 2 * time.Hour})
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue("runner_fleet")
	if err != nil {
		t.Fatal(err)
	}
	card := func() (card map[string]any) {
		entry, err := kv.Get("web1")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(entry.Value(), &card); err != nil {
			t.Fatal(err)
		}
		return card
	}
	if _, known := card()["clockOffset"].(float64); !known {
		t.Errorf("got %v, want a clock in the first card", card())
	}
	reply := f.ask("runner.task.any", `{"kind":"runner","metadata":{"id":"long"},"spec":{"task":{"argv":["sleep","60"]}}}`).ok(t)
	rig.Eventually(f.t, "the card says that something runs", func() bool { return card()["running"] == 1.0 })
	f.ask("runner.abort.any", `{"kind":"runner","spec":{"abort":{"run":"`+reply.text("run", "id")+`"}}}`).ok(t)
	rig.Eventually(f.t, "the card says that nothing runs", func() bool { return card()["running"] == 0.0 })
}
