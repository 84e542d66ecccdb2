package client

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		outcome Outcome
		ok      bool
	}{
		"well":             {Outcome{Log: logs.FollowResult{End: &lines.End{State: "COMPLETE"}}}, true},
		"with a code":      {Outcome{Log: logs.FollowResult{End: &lines.End{State: "COMPLETE", ExitCode: 1}}}, false},
		"by a signal":      {Outcome{Log: logs.FollowResult{End: &lines.End{State: "COMPLETE", Signal: "SIGTERM"}}}, false},
		"out of time":      {Outcome{Log: logs.FollowResult{End: &lines.End{State: "TIMEDOUT"}}}, false},
		"nobody knows how": {Outcome{}, false},
		"seen in part":     {Outcome{Log: logs.FollowResult{End: &lines.End{State: "COMPLETE"}}, Err: errors.New("lost")}, false},
	} {
		if got := c.outcome.OK(); got != c.ok {
			t.Errorf("%s: OK is %t", name, got)
		}
		if c.outcome.End() != c.outcome.Log.End {
			t.Errorf("%s: the end is another one than the log's", name)
		}
	}
}

// Events that nobody wants are not told.
func TestEventsMayBeNil(t *testing.T) {
	var none RunEvents
	none.accepted(&pb.Run{})
	none.ended(Outcome{})
	if none.record(&pb.Run{}) != nil {
		t.Error("records are read for nobody")
	}
	var told []string
	run := &pb.Run{Id: "r"}
	stop := errors.New("enough")
	all := RunEvents{
		Accepted: func(r *pb.Run) { told = append(told, "accepted "+r.GetId()) },
		Record:   func(r *pb.Run, l lines.Record) error { told = append(told, r.GetId()+" "+string(l.Text)); return stop },
		Ended:    func(o Outcome) { told = append(told, "ended "+o.Run.GetId()) },
	}
	all.accepted(run)
	if err := all.record(run)(lines.Record{Text: []byte("x")}); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	all.ended(Outcome{Run: run})
	if want := []string{"accepted r", "r x", "ended r"}; !slices.Equal(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}

func TestTargetsThatContradictThemselves(t *testing.T) {
	for _, c := range []struct {
		target Target
		want   string
	}{
		{Target{}, ""}, {Target{On: "web1"}, ""}, {Target{Pool: "web", All: true, Where: "cpus > 8"}, ""},
		{Target{On: "web1", All: true}, "one runner was named: pool, all and where don't go with it"},
		{Target{On: "web1", Pool: "web"}, "one runner was named: pool, all and where don't go with it"},
		{Target{On: "web1", Where: "true"}, "one runner was named: pool, all and where don't go with it"},
		{Target{On: "a.b"}, `cannot use name: "a.b" must be letters, digits, "-" and "_" only`},
		{Target{Pool: "*"}, `cannot use name: "*" must be letters, digits, "-" and "_" only`},
	} {
		err := c.target.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%+v: got %v, want %s", c.target, err, c.want)
		}
	}
	if err := (Target{All: true}).single("RunAll"); !errors.Is(err, ErrOneOnly) || err.Error() != "the target means every runner: use RunAll" {
		t.Errorf("got %v", err)
	}
}

func TestReplyStates(t *testing.T) {
	for state, want := range map[ReplyState]string{
		0: "none", ReplyOK: "ok", ReplyFailed: "failed", ReplySkipped: "skipped", ReplyMissing: "missing", ReplyUnexpected: "unexpected", 6: "ReplyState(6)", -1: "ReplyState(-1)",
	} {
		if got := state.String(); got != want {
			t.Errorf("%d: got %s, want %s", int(state), got, want)
		}
	}
}

// replies is a fan-out that yields these.
func replies(all []Reply[*pb.GlanceReply], end error) iter.Seq2[Reply[*pb.GlanceReply], error] {
	return func(yield func(Reply[*pb.GlanceReply], error) bool) {
		for _, reply := range all {
			if !yield(reply, nil) {
				return
			}
		}
		if end != nil {
			yield(Reply[*pb.GlanceReply]{}, end)
		}
	}
}

func TestCollect(t *testing.T) {
	no := &RemoteError{Runner: "c", Code: 403, Text: "no"}
	message := &pb.GlanceReply{Runner: "b"}
	all := []Reply[*pb.GlanceReply]{
		{Runner: "e", State: ReplyMissing, Err: ErrNoAnswer}, {Runner: "c", State: ReplyFailed, Err: no}, {Runner: "b", State: ReplyOK, Message: message},
		{Runner: "a", State: ReplyOK, Message: &pb.GlanceReply{}}, {Runner: "d", State: ReplySkipped}, {Runner: "x", State: ReplyUnexpected, Message: &pb.GlanceReply{}},
	}
	result, err := Collect(replies(all, &tooFewError{short: 2, expected: 5}))
	if err != nil {
		t.Fatal(err)
	}
	for name, lists := range map[string][2][]string{
		"ok": {result.OK, {"a", "b"}}, "failed": {result.Failed, {"c"}}, "skipped": {result.Skipped, {"d"}},
		"missing": {result.Missing, {"e"}}, "unexpected": {result.Unexpected, {"x"}},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s: got %q, want %q", name, lists[0], lists[1])
		}
	}
	if result.Short != 2 || result.Complete() || len(result.Errors) != 1 || !errors.Is(result.Errors["c"], ErrRefused) {
		t.Errorf("got %d short, complete %t, errors %v", result.Short, result.Complete(), result.Errors)
	}
	if got := slices.Sorted(maps.Keys(result.Answers)); !slices.Equal(got, []string{"a", "b", "c", "x"}) {
		t.Errorf("answers of %q", got)
	}
	if got := result.Replies(); len(got) != 3 || got["b"] != message {
		t.Errorf("got %v, want those without an error", got)
	}
	broken := errors.New("no server")
	if _, err := Collect(replies(all[:1], broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	whole, err := Collect(replies(all[3:4], nil))
	if err != nil || !whole.Complete() || whole.Errors != nil {
		t.Errorf("got %+v, %v", whole, err)
	}
}

func TestTooFewInWords(t *testing.T) {
	var err error = &tooFewError{short: 2, expected: 5}
	if !errors.Is(err, ErrTooFew) || errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v is not ErrTooFew alone", err)
	}
}

func TestPermissionErrors(t *testing.T) {
	for want, err := range map[string]*PermissionError{
		"user ops may not publish on runner.task.any (docs/subjects.md)": {User: "user ops", Subject: "runner.task.any"},
		"this user may not subscribe to _INBOX.> (docs/subjects.md)":     {Subscribe: true, Subject: "_INBOX.>"},
	} {
		if err.Error() != want || !errors.Is(fmt.Errorf("x: %w", err), nats.ErrPermissionViolation) || errors.Is(err, nats.ErrTimeout) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestCodes(t *testing.T) {
	for want, err := range map[int]error{0: errors.New("x"), 404: &RemoteError{Code: 404}, 503: fmt.Errorf("x: %w", &RemoteError{Code: 503})} {
		if got := Code(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
	if Code(nil) != 0 {
		t.Error("no error has a code")
	}
}

func TestWorkGetsAnId(t *testing.T) {
	req := &pb.TaskRequest{Kind: pb.Kind}
	item := Work{Pool: "web", Priority: "high", Task: req}.item()
	if item.Pool != "web" || item.Priority != "high" || len(item.Request.GetMetadata().GetId()) != 26 {
		t.Errorf("got %+v", item)
	}
	if req.GetMetadata() != nil {
		t.Error("the caller's task was changed")
	}
	named := &pb.TaskRequest{Metadata: &pb.Metadata{Id: "mine", Name: "n"}}
	if got := (Work{Task: named}).item().Request.GetMetadata(); got.GetId() != "mine" || got.GetName() != "n" {
		t.Errorf("got %v", got)
	}
}
