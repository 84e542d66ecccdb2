package pb

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

func TestJSONForm(t *testing.T) {
	run := &Run{
		Id: "a", State: State_RUNNING, Bytes: math.MaxInt64, Tags: map[string]string{"b": "2", "a": "<1>"},
		Created: timestamppb.New(time.Unix(0, 0)),
	}
	b, err := MarshalJSON(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"state":"RUNNING"`, `"bytes":9223372036854775807`, `"exitCode":0`, `"logComplete":false`,
		`"tags":{"a":"<1>","b":"2"}`, `"created":"1970-01-01T00:00:00Z"`, `"reason":""`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is missing in %s", want, b)
		}
	}
	for _, unwanted := range []string{"started", "compile\":{"} {
		if strings.Contains(string(b), unwanted) {
			t.Errorf("%s is in %s, though it was never set", unwanted, b)
		}
	}
}

// What we write, protobuf's own reader reads as the same message.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		run := &Run{
			Id: text.Draw(t, "id"), Error: text.Draw(t, "error"), ExitCode: rapid.Int32().Draw(t, "exit"),
			Bytes: rapid.Int64().Draw(t, "bytes"), State: State(rapid.IntRange(0, 6).Draw(t, "state")),
			Tags:    rapid.MapOf(text, text).Draw(t, "tags"),
			CpuTime: rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }).Draw(t, "cpu"),
			Created: timestamppb.New(time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 0)),
		}
		b, err := MarshalJSON(run)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b) {
			t.Fatalf("not JSON: %s", b)
		}
		var ours, theirs Run
		if err := UnmarshalRecord(b, &ours); err != nil {
			t.Fatal(err)
		}
		if err := protojson.Unmarshal(b, &theirs); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(run, &ours) || !proto.Equal(run, &theirs) {
			t.Fatalf("got %v and %v, want %v", &ours, &theirs, run)
		}
	})
}

// Null is a value in the variables of a job, and nowhere else.
func TestNullInVariables(t *testing.T) {
	const request = `{"kind":"runner","spec":{"pipeline":{"schedule":{"variables":%s,"pipeline":"p"%s}}}}`
	for _, c := range []struct {
		variables, more string
		good            bool
	}{
		{`{"a":null,"b":[null,{"variables":{"c":null}}]}`, "", true},
		{`{}`, `,"user":null`, false},
		{`{"variables":{}}`, `,"user":null`, false},
		{`null`, "", false},
	} {
		body := fmt.Sprintf(request, c.variables, c.more)
		err := DecodeRequest([]byte(body), false, &PipelineRequest{})
		if (err == nil) != c.good {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestBadRequestsAreNamed(t *testing.T) {
	for body, want := range map[string]string{
		"":                                     "empty body",
		"  ":                                   "empty body",
		"{":                                    "invalid JSON",
		"[]":                                   "invalid JSON",
		`"x"`:                                  "invalid JSON",
		"{}":                                   "invalid kind",
		`{"kind":"x"}`:                         "invalid kind",
		`{"kind":null}`:                        `"kind" is null`,
		` null`:                                `want an object, not null`,
		`{"kind":"\ud800"}`:                    `has no other half`,
		`{"kind":"runner"}`:                    "spec.task is missing",
		`{"kind":"runner"}{}`:                  "invalid JSON",
		`{"kind":"runner"} x`:                  "invalid JSON",
		`{"kind":"runner","x":1}`:              `unknown field "x"`,
		`{"kind":"runner","spec":null}`:        `"spec" is null`,
		`{"kind":"runner","api_version":"v1"}`: `unknown field "api_version"`,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"log":{"max_bytes":5}}}}`:                            `unknown field "max_bytes"`,
		`{"kind":"runner","spec":{"task":{"argv":["x"],"files":[{"_":""}]}}}`:                               `unknown field "_"`,
		`{"kind":"runner","spec":{"task":{"language":{"name":"c"},"commands":["x"],"file":{"gzip":true}}}}`: "file and commands not supported meanwhile",
		`{"kind":"runner","spec":{}}`:                                                    "spec.task is missing",
		`{"kind":"runner","spec":{"task":{}}}`:                                           "invalid file",
		`{"kind":"runner","spec":{"task":{"file":{}}}}`:                                  "invalid file",
		`{"kind":"runner","apiVersion":"v2","spec":{"task":{"argv":["x"]}}}`:             "invalid apiVersion",
		`{"kind":"runner","spec":{"task":{"argv":["x",null]}}}`:                          "is null",
		`{"kind":"runner","spec":{"task":{"argv":["x"],"commands":["y"]}}}`:              "exactly one",
		`{"kind":"runner","spec":{"task":{"commands":["x"],"file":{"content":"eA=="}}}}`: "file and commands not supported meanwhile",
		`{"kind":"runner","spec":{"task":{"file":{"content":"eA=="}}}}`:                  "invalid type",
		`{"kind":"runner","spec":{"task":{"file":{"content":"eA==","gzip":true}}}}`:      "gzip: invalid header",
		`{"kind":"runner","spec":{"task":{"argv":["x"],"timeout":"90"}}}`:                "spec.task.timeout",
		`{"kind":"runner","spec":{"task":{"argv":["x"],"timeout":90}}}`:                  "timeout",
		`{"kind":"runner","spec":{"task":{"argv":["x"],"grace":"-1s"}}}`:                 "spec.task.grace",
		`{"kind":"runner","spec":{"task":{"argv":["x"],"params":[{"name":"a=b"}]}}}`:     "spec.task.params[0].name",
		`{"kind":"runner","spec":{"task":{"argv":["x"],"log":{"overflow":"x"}}}}`:        "spec.task.log.overflow",
		`{"kind":"runner","metadata":{"id":"a.b"},"spec":{"task":{"argv":["x"]}}}`:       "metadata.id",
		`{"kind":"runner","spec":{"task":{"argv":["a\u0000b"]}}}`:                        "NUL",
		strings.Repeat("[", 100_000):                                                     "invalid JSON",
		strings.Repeat(`{"spec":`, 50_000) + "null":                                      "invalid JSON",
	} {
		err := DecodeRequest([]byte(body), false, &TaskRequest{})
		var bad *InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80s: got %v, want one line with %q", body, err, want)
		}
	}
}

func TestIntegersComeAsNumbersOrStrings(t *testing.T) {
	for _, width := range []string{`7`, `"7"`} {
		var r TaskRequest
		body := `{"kind":"runner","spec":{"task":{"commands":["x"],"log":{"width":` + width + `}}}}`
		if err := DecodeRequest([]byte(body), false, &r); err != nil || r.GetSpec().GetTask().GetLog().GetWidth() != 7 {
			t.Errorf("%s: got %v, %v", width, r.GetSpec().GetTask().GetLog(), err)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"kind":"runner","spec":{"task":{"commands":["x"],"params":[{"name":"a","value":"$a"}]}}}`), false)
	f.Add([]byte("\x12\x06runner\x22\x05\x0a\x03\x22\x01x"), true)
	f.Fuzz(func(t *testing.T, body []byte, isProtobuf bool) {
		for _, r := range []Request{&TaskRequest{}, &GlanceRequest{}, &MaintRequest{}, &QueryRequest{}, &AbortRequest{}} {
			if DecodeRequest(body, isProtobuf, r) != nil {
				continue
			}
			b, err := Encode(r, false)
			if err != nil || !json.Valid(b) {
				t.Fatalf("accepted, but has no JSON form: %s, %v", b, err)
			}
		}
	})
}
