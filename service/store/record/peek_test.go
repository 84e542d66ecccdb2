package record

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
)

func drawRun(t *rapid.T) *pb.Run {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", `"`, `\`, `\\"`, `{"state":"RUNNING"}`, "state", "id", "tags", ",", "é\u2028<>&", "\xff"}))
	run := &pb.Run{
		Id: rapid.StringMatching(`[a-zA-Z0-9_-]{1,20}`).Draw(t, "id"), Name: text.Draw(t, "name"), Error: text.Draw(t, "error"),
		State: pb.State(rapid.IntRange(0, len(pb.State_name)-1).Draw(t, "state")), Tags: rapid.MapOfN(text, text, 0, 4).Draw(t, "tags"),
		Lines: rapid.Int64().Draw(t, "lines"), CpuTime: rapid.Float64().Draw(t, "cpu"),
	}
	if rapid.Bool().Draw(t, "created") {
		run.Created = &timestamppb.Timestamp{Seconds: rapid.Int64Range(0, 1<<33).Draw(t, "s"), Nanos: rapid.Int32Range(0, 999999999).Draw(t, "ns")}
	}
	return run
}

// TestPeekAgreesWithDecode: what a list skims is what a full decode would give.
func TestPeekAgreesWithDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body, err := pb.MarshalJSON(drawRun(t))
		if err != nil {
			t.Fatal(err)
		}
		run, err := Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		want := rapid.MapOfN(rapid.String(), rapid.String(), 0, 1).Draw(t, "want")
		for k, v := range run.Tags {
			if rapid.Bool().Draw(t, "ask") {
				want[k] = v
			}
		}
		p, err := peekFast(body, Traits{Tags: want})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		created := int64(0)
		if run.Created != nil {
			created = run.Created.AsTime().UnixNano()
		}
		if string(p.ID) != run.Id || p.State != run.State || p.Created != created || p.Fits != (Traits{Tags: want}).Fit(run) {
			t.Fatalf("%s asked for %q: got %q %s %d %v", body, want, p.ID, p.State, p.Created, p.Fits)
		}
	})
}

// TestPeekReadsOtherForms: what a person or a later version wrote is decoded.
func TestPeekReadsOtherForms(t *testing.T) {
	body := "{ \"later\": [1, {\"id\":\"x\"}], \"tags\": {\"a\": \"b\"},\n\"id\": \"r\", \"state\": 2, \"created\": \"2026-01-02T03:04:05+01:00\" }"
	p, err := Peek([]byte(body), Traits{Tags: map[string]string{"a": "b"}})
	if err != nil || string(p.ID) != "r" || p.State != pb.State_RUNNING || !p.Fits || p.Created != 1767319445e9 {
		t.Errorf("got %q %s %d %v, %v", p.ID, p.State, p.Created, p.Fits, err)
	}
	if _, err := Peek([]byte("rubbish"), Traits{}); err == nil {
		t.Error("rubbish was taken for a record")
	}
}

// FuzzPeek: no bytes make it panic, and JSON that it does read it reads right.
func FuzzPeek(f *testing.F) {
	for _, s := range []string{`{"id":"a","state":"RUNNING","tags":{"a":"b"},"created":"2026-01-02T03:04:05Z"}`, `{}`, `{"id":1}`, `{"id":"\"`, `{"tags":{"a":1},"id":"x"}`, `{"a":}`, `{"tags":{`, `{"tags":1,"id":"a"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := peekFast(body, Traits{Tags: map[string]string{"a": "b"}})
		var keys map[string]json.RawMessage
		if err != nil || json.Unmarshal(body, &keys) != nil || countKey(body, "id") != 1 {
			return
		}
		var id string
		if json.Unmarshal(keys["id"], &id) == nil && utf8.Valid(p.ID) && id != string(p.ID) {
			t.Errorf("%s: id is %q, want %q", body, p.ID, id)
		}
	})
}

// countKey counts a key on the first level of an object.
func countKey(body []byte, key string) (n int) {
	_ = eachField(body, func(k, _ []byte) (bool, error) {
		if string(k) == key {
			n++
		}
		return true, nil
	})
	return n
}
