package prunner

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/stream"
	"github.com/runnel-io/runnel/service/pipeline/records"
)

const id = "01234567-89ab-cdef-0123-456789abcdef"

func TestIDsInAnySpelling(t *testing.T) {
	for _, text := range []string{id, "0123456789abcdef0123456789abcdef", "{" + id + "}", "urn:uuid:" + id, "URN:UUID:" + id, "01234567-89AB-CDEF-0123-456789ABCDEF"} {
		if got, err := parseID(text); err != nil || got.String() != id {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "{}", "x" + id + "y", id + "0", id[1:], "urn:uuid:", "(" + id + ")", "0123456789abcdef0123456789abcdeg"} {
		if got, err := parseID(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestVariables(t *testing.T) {
	for text, want := range map[string]string{
		"": "map[]", "null": "map[]", " [ ] ": "map[]", "{}": "map[]", `{"a":1.5,"b":"x"}`: "map[a:1.5 b:x]", `{"a":{"0":"x","1":"y"}}`: "map[a:map[0:x 1:y]]",
	} {
		if got, err := variablesOf(json.RawMessage(text)); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, want %s (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{`[1]`, `"x"`, "5", "true", "[[]]"} {
		if got, err := variablesOf(json.RawMessage(text)); err == nil {
			t.Errorf("%s is taken: %v", text, got)
		}
	}
}

func TestLimits(t *testing.T) {
	for query, want := range map[string]int{"": 1000, "limit=1": 1, "limit=1000": 1000, "limit=0": -1, "limit=1001": -1, "limit=": -1, "limit=x": -1, "limit=-1": -1} {
		q, _ := url.ParseQuery(query)
		n, err := limitOf(q)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// Where a client goes on: in the run that its id names, or in the only one.
func TestWhereAClientIs(t *testing.T) {
	runs := []*pb.Run{{Id: "a"}, {Id: "b"}}
	one, two := &pb.JobTask{Runs: []string{"a"}, Attempt: 1}, &pb.JobTask{Runs: []string{"a", "b"}, Attempt: 1}
	again := &pb.JobTask{Runs: []string{"a"}, Attempt: 2}
	for _, c := range []struct {
		last  string
		task  *pb.JobTask
		runs  []*pb.Run
		from  int
		at    stream.Place
		known bool
	}{
		{"3.4", one, runs[:1], 0, stream.Place{Seq: 3, Record: 4}, true},
		{"b/3.4", two, runs, 1, stream.Place{Seq: 3, Record: 4}, true},
		{"a/1.1", again, runs[:1], 0, stream.Place{Seq: 1, Record: 1}, true},
		{"", one, runs[:1], 0, stream.Place{}, false},
		{"3.4", two, runs, 0, stream.Place{}, false},
		{"a/3.4", one, runs[:1], 0, stream.Place{}, false},
		{"c/3.4", two, runs, 0, stream.Place{}, false},
		{"b/x", two, runs, 0, stream.Place{}, false},
		{"3.4", one, nil, 0, stream.Place{}, false},
	} {
		from, at, known := whereIn(c.last, c.task, c.runs)
		if from != c.from || at != c.at || known != c.known {
			t.Errorf("%q: %d %v %v", c.last, from, at, known)
		}
	}
}

// A list is put together from what is encoded already, as long as its revision is
// the same.
func TestJobsAreEncodedOnce(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 999, time.FixedZone("x", 3600)))
	job := &pb.Job{Id: id, Pipeline: "p", Created: at}
	var e encodedJobs
	list := func(rev uint64) string {
		body, err := e.list([]records.JobAt{{Job: job, Rev: rev}}, true)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	first := list(1)
	want := `[{"id":"` + id + `","pipeline":"p","tasks":[],"completed":false,"canceled":false,"errored":false,"created":"2026-01-02T02:04:05Z","start":null,"end":null,"user":""}]`
	if first != want {
		t.Errorf("%s, want %s", first, want)
	}
	job.User = "changed"
	if again := list(1); again != first {
		t.Errorf("the same revision: %s", again)
	}
	if now := list(2); now == first {
		t.Errorf("another revision: %s", now)
	}
	if none, err := e.list(nil, true); err != nil || string(none) != "[]" || len(e.jobs) != 0 {
		t.Errorf("%s, %d are kept, %v", none, len(e.jobs), err)
	}
}
