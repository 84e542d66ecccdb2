package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/subjects"
)

const protobuf = "application/protobuf"

// Whatever the bytes of a request, it gets an error that says what is wrong, and
// the handler never sees it.
func TestGarbage(t *testing.T) {
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{looking(func(_ context.Context, _ *endpoint.Request, req *pb.GlanceRequest) (*pb.GlanceReply, error) {
		t.Errorf("the handler was given %v", req)
		return &pb.GlanceReply{}, nil
	})}})
	noise := make([]byte, 1<<20-1024)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	for name, body := range map[string]string{
		"nothing": "", "blank": " \n", "null": "null", "a list": "[]", "half": `{"kind":"runner","spec":{`,
		"another kind": `{"kind":"walker","spec":{"glance":{}}}`, "no spec": `{"kind":"runner"}`, "null inside": `{"kind":"runner","spec":{"glance":null}}`,
		"another verb": `{"kind":"runner","spec":{"task":{}}}`, "twice": `{"kind":"runner","kind":"runner","spec":{"glance":{}}}`,
		"something behind": glance + glance, "unknown field": `{"kind":"runner","spec":{"glance":{"nosuch":1}}}`,
		"not UTF-8":    "{\"kind\":\"runner\",\"spec\":{\"glance\":{\"dir\":{\"path\":\"/\xff\"}}}}",
		"noise":        string(noise),
		"zeroes":       string(make([]byte, 1<<20-1024)),
		"deep objects": strings.Repeat(`{"spec":`, 130000), "deep lists": strings.Repeat("[", 1<<20-1024),
		"deep lists, closed": strings.Repeat("[", 1<<19-512) + strings.Repeat("]", 1<<19-512),
	} {
		for _, form := range []string{"", protobuf} {
			reply := s.ask("runner.glance.at.web1", body, "Content-Type", form)
			if reply.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: the error is %q", name, reply.Header.Get("Content-Type"))
			}
			isError(t, reply, "400", "")
		}
	}
}

// A handler that panics is an error for its caller; the process and the next
// request don't notice.
func TestPanic(t *testing.T) {
	calls := 0
	bad := looking(func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*pb.GlanceReply, error) {
		if calls++; calls == 2 {
			return &pb.GlanceReply{Error: "fine"}, nil
		}
		panic("oh dear")
	})
	arrives := endpoint.Row{Verb: subjects.Task, Reach: endpoint.ReachAt, Arrive: func(*endpoint.Request) endpoint.Handler { panic("at the door") }}
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{bad, arrives}})
	isError(t, s.ask("runner.glance.at.web1", glance), "500", "log")
	isReply(t, s.ask("runner.glance.at.web1", glance), "fine")
	for range 3 {
		isError(t, s.ask("runner.task.at.web1", `{}`), "500", "log")
	}
	for _, text := range []string{"oh dear", "at the door", "subject=runner.task.at.web1", "request_test.go"} {
		if !strings.Contains(s.log.String(), text) {
			t.Errorf("the log does not have %q", text)
		}
	}
}

// The reply has the form of the request, names the runner and gives back the
// trace context.
func TestReply(t *testing.T) {
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{looking(sees("fog"))}})
	reply := s.ask("runner.glance.any", glance, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	isReply(t, reply, `"error":"fog"`)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Runner-Name": "web1", "Runner-Instance": "INSTANCE",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		if got := reply.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	body, err := proto.Marshal(&pb.GlanceRequest{Kind: pb.Kind, Spec: &pb.GlanceSpec{Glance: &pb.Glance{}}})
	if err != nil {
		t.Fatal(err)
	}
	reply = s.ask("runner.glance.any", string(body), "content-TYPE", "Application/Protobuf; x=y", "traceparent", "<script>")
	var got pb.GlanceReply
	if err := proto.Unmarshal(reply.Data, &got); err != nil || got.GetError() != "fog" || reply.Header.Get("Content-Type") != protobuf {
		t.Errorf("got %v %v %q", reply.Header, err, reply.Data)
	}
	if reply.Header.Get("traceparent") != "" {
		t.Error("what is no trace context came back")
	}
}

// Errors: their own codes, those of Config.Code, and 500; one line of bounded
// length; a reply beside an error keeps its body.
func TestErrors(t *testing.T) {
	theirs := errors.New("somebody else's")
	var answer func() (*pb.GlanceReply, error)
	s := serve(t, endpoint.Config{
		Code: func(err error) int {
			if errors.Is(err, theirs) {
				return 418
			}
			return 0
		},
		Rows: []endpoint.Row{looking(func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*pb.GlanceReply, error) { return answer() })},
	})
	for _, c := range []struct {
		err  error
		code string
		text string
	}{
		{endpoint.Coded(409, errors.New("taken")), "409", "taken"},
		{fmt.Errorf("cannot look: %w", endpoint.Coded(404, errors.New("gone"))), "404", "cannot look: gone"},
		{pb.Invalid("dir.path is empty"), "400", "dir.path"},
		{fmt.Errorf("so it is: %w", theirs), "418", "somebody"},
		{errors.New("whatever"), "500", "whatever"},
		{errors.New("two\nlines\x00and\ttabs"), "500", "two lines and tabs"},
		{errors.New("bad \xff bytes"), "500", "bad \uFFFD bytes"},
		{errors.New(strings.Repeat("long ", 1<<20)), "500", "long"},
	} {
		answer = func() (*pb.GlanceReply, error) { return nil, c.err }
		reply := s.ask("runner.glance.any", glance)
		isError(t, reply, c.code, c.text)
		if len(reply.Data) > 4096 {
			t.Errorf("an error of %d bytes", len(reply.Data))
		}
	}
	answer = func() (*pb.GlanceReply, error) {
		return &pb.GlanceReply{Runner: "half"}, endpoint.Coded(403, errors.New("not that"))
	}
	reply := s.ask("runner.glance.any", glance)
	if reply.Header.Get("Nats-Service-Error-Code") != "403" || !strings.Contains(string(reply.Data), `"runner":"half"`) {
		t.Errorf("got %v %s", reply.Header, reply.Data)
	}
}

// A reply above the payload limit is a 413 that says how to ask for less; headers
// count, and one that just fits is sent.
func TestSizeLimit(t *testing.T) {
	size := 0
	s := serve(t, endpoint.Config{Rows: []endpoint.Row{looking(func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*pb.GlanceReply, error) {
		return &pb.GlanceReply{Error: strings.Repeat("x", size)}, nil
	})}})
	most := int(s.nc.MaxPayload())
	for size = most - 400; size < most; size += 20 {
		reply := s.ask("runner.glance.any", glance)
		if reply.Header.Get("Nats-Service-Error-Code") == "" {
			continue
		}
		isError(t, reply, "413", "ask for less")
		if size == most-400 {
			t.Errorf("%d bytes don't fit in %d", size, most)
		}
		return
	}
	t.Error("a reply as large as the limit was sent")
}

// Runner-Where narrows all scopes; who is left out says so if asked.
func TestWhere(t *testing.T) {
	s := serve(t, endpoint.Config{
		Rows: []endpoint.Row{looking(sees("fog"))},
		Matches: func(where string) (bool, error) {
			if where == "?" {
				return false, errors.New("no expression")
			}
			return where == "true", nil
		},
	})
	isReply(t, s.ask("runner.glance.all", glance, "Runner-Where", "true"), "fog")
	isReply(t, s.ask("runner.glance.pool.db.all", glance, "runner-where", "true"), "fog")
	isReply(t, s.ask("runner.glance.all", glance, "Runner-Where", "false", "Runner-Answer", "Always"), `{"runner":"web1","skipped":true}`)
	isError(t, s.ask("runner.glance.all", glance, "Runner-Where", "?"), "400", "no expression")
	isError(t, s.ask("runner.glance.any", glance, "Runner-Where", "true"), "400", "runner.glance.all")
	msg, err := s.nc.Request("runner.glance.all", []byte(glance), soon)
	if err != nil {
		t.Fatal(err)
	}
	isReply(t, msg, "fog")
}

// The policy's word comes before the handler's, the caller's deadline before both.
func TestRefusals(t *testing.T) {
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	s := serve(t, endpoint.Config{
		Rows:       []endpoint.Row{looking(sees("fog"))},
		Allow:      func(v subjects.Verb) error { return endpoint.Coded(403, fmt.Errorf("policy: verbs has no %s", v)) },
		ServerTime: func(context.Context) (earliest, latest time.Time, err error) { return now, now.Add(time.Hour), nil },
	})
	isError(t, s.ask("runner.glance.any", glance), "403", "no glance")
	for deadline, code := range map[string]string{
		"2026-11-26T08:59:59Z": "403", "2026-11-26T08:59:58.9Z": "408", "2026-11-26T10:59:00+02:00": "408", "2026-11-26T11:00:00+02:00": "403", "tomorrow": "400",
	} {
		isError(t, s.ask("runner.glance.any", glance, "Runner-Deadline", deadline), code, "")
	}
}

func TestTableThatCannotBeServed(t *testing.T) {
	space, _ := subjects.New("")
	good := looking(sees("fog"))
	for text, rows := range map[string][]endpoint.Row{
		"two rows":    {good, good},
		"no handler":  {{Verb: subjects.Maint, Reach: endpoint.ReachAt}},
		"no requests": {{Verb: "log", Reach: endpoint.ReachAt, Handle: good.Handle}},
		"a.b":         {{Verb: "a.b", Reach: endpoint.ReachAt, Handle: good.Handle}},
	} {
		if _, err := endpoint.New(context.Background(), endpoint.Config{Space: space, Rows: rows}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
