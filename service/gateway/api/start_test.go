package api

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

func asksOf(t *testing.T, body string) asksRun {
	t.Helper()
	var a asksRun
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return a
}

// What a request asks for, as the wire has it.
func TestTasksOfRequests(t *testing.T) {
	for body, want := range map[string]string{
		`{"command":"echo hi"}`:                                                                            `{"commands":["echo hi"]}`,
		`{"argv":["true"],"dir":"@run","user":"x"}`:                                                        `{"argv":["true"],"dir":"@run","user":"x"}`,
		`{"script":"#!/bin/bash\necho"}`:                                                                   `{"file":{"content":"IyEvYmluL2Jhc2gKZWNobw=="}}`,
		`{"language":"c","version":"1","code":"x","args":["a"]}`:                                           `{"language":{"name":"c","version":"1"},"file":{"content":"eA=="},"argv":["a"]}`,
		`{"language":"c","files":[{"name":"a.c","content":"x"}]}`:                                          `{"language":{"name":"c"},"files":[{"name":"a.c","content":"x"}]}`,
		`{"argv":["cat"],"stdin":"hi"}`:                                                                    `{"argv":["cat"],"stdin":"aGk="}`,
		`{"argv":["cat"],"stdin":"aGk=","stdinBase64":true}`:                                               `{"argv":["cat"],"stdin":"aGk="}`,
		`{"argv":["x"],"limits":{"memoryMax":"64M"},"log":{"pack":1},"params":[{"name":"A","value":"b"}]}`: `{"argv":["x"],"limits":{"memoryMax":"64M"},"log":{"pack":1},"params":[{"name":"A","value":"b"}]}`,
		`{"name":"n","argv":["x"],"timeout":"90s","grace":"1s","expires":"5s","tags":{"a":"b"},"isolation":"strict","network":true}`: `{"name":"n","argv":["x"],"timeout":"90s","grace":"1s","expires":"5s","tags":{"a":"b"},"isolation":"strict","network":true}`,
	} {
		got, err := asksOf(t, body).task()
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		wanted := &pb.Task{}
		if err := pb.UnmarshalJSON([]byte(want), wanted); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		one, _ := pb.MarshalJSON(got)
		two, _ := pb.MarshalJSON(wanted)
		if string(one) != string(two) {
			t.Errorf("%s:\n%s, want\n%s", body, one, two)
		}
	}
}

func TestWhatIsNoTask(t *testing.T) {
	const oneOf = "a task is one of command, argv, script, and code with its language"
	for body, want := range map[string]string{
		`{}`:                                            oneOf,
		`{"command":"x","argv":["y"]}`:                  oneOf,
		`{"script":"x","language":"c"}`:                 oneOf,
		`{"code":"x"}`:                                  "code needs a language",
		`{"files":[{"name":"a","content":""}]}`:         "code needs a language",
		`{"argv":["x"],"code":"y"}`:                     "code, files, args and version need a language",
		`{"argv":["x"],"args":["y"]}`:                   "code, files, args and version need a language",
		`{"command":"x","version":"1"}`:                 "code, files, args and version need a language",
		`{"argv":["x"],"stdin":"*","stdinBase64":true}`: "stdin: it is not base64: illegal base64 data at input byte 0",
	} {
		_, err := asksOf(t, body).task()
		if err == nil || err.Error() != want || refusal(err).(*Error).GetStatus() != 400 {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// Scope code allows source in a language, on any runner and held as its policy says.
func TestCodeAlone(t *testing.T) {
	for body, want := range map[string]bool{
		`{"language":"c","code":"x"}`:                              true,
		`{"language":"c","code":"x","isolation":"strict"}`:         true,
		`{"language":"c","code":"x","limits":{"memoryMax":"64M"}}`: true,
		`{"language":"c","code":"x","isolation":"none"}`:           false,
		`{"language":"c","code":"x","isolation":"standard"}`:       false,
		`{"language":"c","code":"x","network":true}`:               false,
		`{"language":"c","code":"x","user":"root"}`:                false,
		`{"language":"c","code":"x","dir":"/etc"}`:                 false,
		`{"language":"c","code":"x","target":{"on":"r1"}}`:         false,
		`{"language":"c","code":"x","target":{"all":true}}`:        false,
		`{"language":"c","code":"x","command":"y"}`:                false,
		`{"language":"c","script":"x"}`:                            false,
		`{"argv":["true"]}`:                                        false,
	} {
		if got := asksOf(t, body).isCodeAlone(); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

// Who asks is on the task, whatever he says of himself.
func TestClaim(t *testing.T) {
	for _, c := range []struct {
		sub        string
		tags       map[string]string
		user, rest string
	}{
		{"me", nil, "me", ""}, {"me", map[string]string{"user": "root", "a": "b"}, "me", "b"}, {"", map[string]string{"user": "x"}, "x", ""}, {"", nil, "", ""},
	} {
		task := &pb.Task{Tags: c.tags}
		before := c.tags["user"]
		claim(task, auth.Caller{Sub: c.sub})
		if task.GetTags()["user"] != c.user || task.GetTags()["a"] != c.rest || c.tags["user"] != before {
			t.Errorf("%+v: %v", c, task.GetTags())
		}
	}
	claim(nil, auth.Caller{Sub: "me"})
}

// A request's own id is kept, and makes the same request again the same run.
func TestIDsOfRequests(t *testing.T) {
	one, err := asksOf(t, `{"argv":["true"]}`).request()
	if err != nil {
		t.Fatal(err)
	}
	two, err := asksOf(t, `{"argv":["true"]}`).request()
	if err != nil || one.GetMetadata().GetId() == two.GetMetadata().GetId() || len(one.GetMetadata().GetId()) != 26 {
		t.Errorf("%s and %s, %v", one.GetMetadata().GetId(), two.GetMetadata().GetId(), err)
	}
	if own, err := asksOf(t, `{"id":"mine","argv":["true"]}`).request(); err != nil || own.GetMetadata().GetId() != "mine" {
		t.Errorf("%v, %v", own, err)
	}
	if _, err := asksOf(t, `{"id":"a b","argv":["true"]}`).request(); err == nil {
		t.Error("an id with a space is taken")
	}
}

// A run in a reply is its record, encoded now or before.
func TestRunsInReplies(t *testing.T) {
	body, err := json.Marshal([]run{{is: &pb.Run{Id: "a"}}, {encoded: []byte(`{"id":"b"}`)}})
	if err != nil || !strings.HasPrefix(string(body), `[{`) || !strings.Contains(string(body), `"id":"a"`) || !strings.HasSuffix(string(body), `,{"id":"b"}]`) {
		t.Errorf("%s, %v", body, err)
	}
	var wrong asked[*pb.Limits]
	if err := json.Unmarshal([]byte(`{"memory":"64M"}`), &wrong); err == nil {
		t.Error("a limit that is not there is taken")
	}
}

// A list's filters, as a query has them.
func TestQueryOfRuns(t *testing.T) {
	in := &runsIn{State: []string{"RUNNING", "FAILED"}, Runner: "r1", Group: "g", Tag: []string{"a=b=c", "d="}, Next: "n"}
	q, err := in.query()
	if err != nil || !q.GetAll() || q.GetRunner() != "r1" || q.GetGroup() != "g" || q.GetNext() != "n" || q.GetTags()["a"] != "b=c" || len(q.GetTags()) != 2 || len(q.GetStates()) != 2 || q.GetStates()[1] != pb.State_FAILED {
		t.Errorf("%v, %v", q, err)
	}
	if _, err := (&runsIn{Tag: []string{"a"}}).query(); err == nil || err.Error() != `tag: "a" is not name=value` {
		t.Errorf("%v", err)
	}
	r := &pb.Run{Id: "01ABC", Name: "Nightly", Runner: "web1", Tags: map[string]string{"team": "blue"}, Error: "no such file"}
	for text, want := range map[string]bool{"": true, "01ab": true, "nightly": true, "web": true, "team=blue": true, "such": true, "red": false} {
		if runHas(r, text) != want {
			t.Errorf("%q is in it: %v", text, !want)
		}
	}
}

// The desk refuses what says that it is too much, before it has come.
func TestTooMuchIsNotWaitedFor(t *testing.T) {
	d := &desk{}
	d.Handle(&huma.Operation{Method: "POST", Path: "/"}, nil)
	r := httptest.NewRequest("POST", "/", strings.NewReader("{"))
	r.ContentLength = maxBody + 1
	w := httptest.NewRecorder()
	d.routes[0].Handle(w, r)
	if w.Code != 413 || w.Body.String() != `{"error":"the request has more than 1048576 bytes"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
