package stream_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/tests/rig"
)

// The last of each subject comes by one request; what a replica has not seen yet, what
// is not there and what is too much for one reply is left to the leader.
func TestLastOfEach(t *testing.T) {
	js := rig.JetStream(t, rig.Connect(t, rig.Memory(t)))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	s := stream.Stream{JS: js, Name: "WORK"}
	put := func(subject, body string) {
		t.Helper()
		if _, err := js.Publish(t.Context(), subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if found, whole, err := s.LastOfEach(t.Context(), "work.a.*", 0); err != nil || whole || len(found) != 0 {
		t.Errorf("of none: %v, %t, %v", found, whole, err)
	}
	put("work.a.1", "old")
	put("work.a.1", "new")
	put("work.a.2", "two")
	put("work.b.1", "other")
	found, whole, err := s.LastOfEach(t.Context(), "work.a.*", 4)
	if err != nil || !whole || len(found) != 2 {
		t.Fatalf("%v, %t, %v", found, whole, err)
	}
	for _, m := range found {
		if want := map[string]string{"work.a.1": "new 2", "work.a.2": "two 3"}[m.Subject]; fmt.Sprint(string(m.Data), " ", m.Seq) != want || m.Time.IsZero() {
			t.Errorf("%s: %s, %d, want %s", m.Subject, m.Data, m.Seq, want)
		}
	}
	if _, whole, err := s.LastOfEach(t.Context(), "work.a.*", 5); err != nil || whole {
		t.Errorf("before the fifth is there: %t, %v", whole, err)
	}
	for i := range 1100 {
		put(fmt.Sprint("work.c.", i), "x")
	}
	if _, whole, err := s.LastOfEach(t.Context(), "work.c.*", 0); err != nil || whole {
		t.Errorf("of more than the server gives: %t, %v", whole, err)
	}
}
