package run

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// A submission is made of a request, its headers and a policy, by whoever has them.
func TestSubmit(t *testing.T) {
	b := newBench(t, nil)
	headers := map[string]string{subjects.HeaderGroup: "deploy-7", subjects.HeaderTrace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	header := func(name string) string { return headers[name] }
	sub, err := b.Submit(request("", argv("true")), header, Policy{Hold: func(t *pb.Task) error { t.User = "app"; return nil }, HidesCommands: true})
	if err != nil || sub.Group != "deploy-7" || sub.Traceparent != headers[subjects.HeaderTrace] || !sub.HidesCommand || sub.Request.GetSpec().GetTask().GetUser() != "app" {
		t.Errorf("got %+v, %v", sub, err)
	}
	if id := b.idOf(sub); id != "deploy-7-web1" {
		t.Errorf("its id is %s", id)
	}
	same, err := NewSubmission(request("", argv("true")), noHeaders)
	if err != nil || same.Digest != sub.Digest || same.Group != "" {
		t.Errorf("the digest is that of the request as it came: %+v, %v", same, err)
	}
	no := errors.New("no")
	if _, err := b.Submit(request("", argv("true")), noHeaders, Policy{Hold: func(*pb.Task) error { return no }}); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	headers[subjects.HeaderGroup] = "a.b*"
	if _, err := NewSubmission(request("", argv("true")), header); err == nil || !strings.Contains(err.Error(), subjects.HeaderGroup) {
		t.Errorf("a bad group: %v", err)
	}
	var asked string
	task := &pb.Task{Language: &pb.Language{Name: "shell"}, File: &pb.File{Content: []byte("true")}}
	if _, err := b.Submit(request("", task), noHeaders, Policy{Hold: func(t *pb.Task) error { asked = t.GetLanguage().GetName(); return nil }}); err != nil || asked != "bash" {
		t.Errorf("the policy was asked for %q: %v", asked, err)
	}
}

// A command in a record is short, and text.
func TestCommandOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		task := &pb.Task{Argv: rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "argv")}
		if rapid.Bool().Draw(t, "shell") {
			task = &pb.Task{Commands: task.Argv}
		}
		got := commandOf(task)
		if utf8.RuneCountInString(got) > maxCommandRunes || len(task.Argv) > 0 && strings.Contains(got, "\n") {
			t.Fatalf("got %q", got)
		}
	})
}

// The first cause counts, but one without grace takes away an earlier one's.
func TestCauses(t *testing.T) {
	grace := &cause{gently: true}
	none := &cause{}
	for _, c := range []struct {
		causes []*cause
		hurry  bool
	}{{[]*cause{grace}, false}, {[]*cause{grace, grace}, false}, {[]*cause{grace, none}, true}, {[]*cause{none, grace}, false}} {
		a := &active{run: &pb.Run{}, ended: make(chan struct{})}
		for _, one := range c.causes {
			a.end(one)
		}
		if a.named() != c.causes[0] || a.hurry != c.hurry {
			t.Errorf("%v: named %v, hurry %v", c.causes, a.named(), a.hurry)
		}
	}
}
