package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

// newLink is a link to a fleet whose runners are cards only, and who answers for
// them.
func newLink(t *testing.T, cards ...*pb.Card) *Link {
	t.Helper()
	nc := rig.Connect(t, rig.Memory(t))
	js := rig.JetStream(t, nc)
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), js, space, store.Config{}); err != nil {
		t.Fatal(err)
	}
	for _, card := range cards {
		if err := rig.PutCard(t.Context(), js, card); err != nil {
			t.Fatal(err)
		}
	}
	return New(Config{
		NC: nc, JS: js, Space: space, Timeout: rig.Patience, OnlineFor: time.Hour,
		Denied:  func(d Denial) error { return fmt.Errorf("%s: %w", d.Subject, nats.ErrPermissionViolation) },
		Refused: func(r Refusal) error { return errors.New(r.Text) },
	})
}

// answers has a runner answer each request on its subject, with an error if code is
// not 0, and tells who was asked.
func answers(t *testing.T, l *Link, scope subjects.Scope, runner string, code int, text string) {
	t.Helper()
	_, err := l.NC.QueueSubscribe(l.Space.Request(subjects.Query, scope), "q", func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		reply.Header.Set(subjects.HeaderRunner, runner)
		reply.Header.Set(subjects.HeaderContentType, subjects.Protobuf)
		if code != 0 {
			reply.Header.Set(micro.ErrorCodeHeader, fmt.Sprint(code))
			reply.Header.Set(micro.ErrorHeader, text)
		} else {
			reply.Data, _ = pb.Encode(&pb.QueryReply{Next: runner}, true)
		}
		_ = m.RespondMsg(reply)
	})
	if err == nil {
		err = l.NC.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func question() (Question, *pb.QueryReply) {
	reply := new(pb.QueryReply)
	return Question{Verb: subjects.Query, Body: &pb.QueryRequest{Kind: pb.Kind, Spec: &pb.QuerySpec{Query: &pb.Query{}}}, Reply: reply}, reply
}

func card(name string, pools ...string) *pb.Card {
	return &pb.Card{Name: name, State: "ready", Pools: pools, Slots: 4, Labels: map[string]string{"name": name}}
}

func names(all []store.Seen) (names []string) {
	for _, r := range all {
		names = append(names, r.Card.GetName())
	}
	return names
}

func TestMatch(t *testing.T) {
	t.Parallel()
	stopped := card("gone", "web")
	stopped.State = store.StateStopped
	l := newLink(t, card("web2", "web"), card("db1", "db", "web"), card("web1", "web"), stopped)
	if all, err := l.Cards(t.Context()); err != nil || !slices.Equal(names(all), []string{"db1", "gone", "web1", "web2"}) {
		t.Errorf("got %v, %v, want all by name", names(all), err)
	}
	for _, c := range []struct {
		want    Wanted
		in, out []string
	}{
		{Wanted{}, []string{"db1", "web1", "web2"}, nil},
		{Wanted{Pool: "db"}, []string{"db1"}, nil},
		{Wanted{Pool: "nosuch"}, nil, nil},
		{Wanted{On: "web1"}, []string{"web1"}, nil},
		{Wanted{On: "gone"}, nil, nil},
		{Wanted{Where: `name == "web2"`}, []string{"web2"}, []string{"db1", "web1"}},
		{Wanted{Where: `name == "web2"`, Pool: "db"}, nil, []string{"db1"}},
	} {
		in, out, err := l.Match(t.Context(), c.want)
		if err != nil || !slices.Equal(names(in), c.in) || !slices.Equal(names(out), c.out) {
			t.Errorf("%+v: got %v without %v, %v, want %v without %v", c.want, names(in), names(out), err, c.in, c.out)
		}
	}
	if _, _, err := l.Match(t.Context(), Wanted{Where: "name = 7"}); err == nil {
		t.Error("a selector that is none was taken")
	}
}

func TestScopes(t *testing.T) {
	for want, w := range map[subjects.Scope]Wanted{"any": {}, "at.web1": {On: "web1"}, "pool.db.any": {Pool: "db"}} {
		if got := w.scope(); got != want {
			t.Errorf("%+v: got %s, want %s", w, got, want)
		}
	}
}

func TestOneAnswer(t *testing.T) {
	t.Parallel()
	l := newLink(t, card("web1"))
	answers(t, l, "at.web1", "web1", 0, "")
	q, reply := question()
	if err := l.One(t.Context(), Wanted{On: "web1"}, q); err != nil || reply.GetNext() != "web1" {
		t.Errorf("got %v, %v", reply, err)
	}
	q.Body = &pb.QueryRequest{}
	if err := l.One(t.Context(), Wanted{On: "web1"}, q); err == nil || !strings.HasPrefix(err.Error(), "invalid kind") {
		t.Errorf("an invalid request was sent: %v", err)
	}
}

// What is wrong with nobody's answer is said: nobody of the name, or not any more.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	stopped := card("gone")
	stopped.State = store.StateStopped
	l := newLink(t, stopped)
	for _, c := range []struct {
		want Wanted
		is   error
		text string
	}{
		{Wanted{}, ErrNoRunners, "No runners available."},
		{Wanted{Pool: "web"}, ErrNoRunners, "No runners available."},
		{Wanted{On: "nosuch"}, ErrOffline, "runner nosuch is not online, and no runner of that name is known"},
		{Wanted{On: "gone"}, ErrOffline, "runner gone is not online; last seen "},
		{Wanted{Where: "cpus > 99"}, ErrNoMatch, `no online runner matches "cpus > 99"`},
	} {
		q, _ := question()
		if err := l.One(t.Context(), c.want, q); !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), c.text) {
			t.Errorf("%+v: got %v, want %s", c.want, err, c.text)
		}
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	l := newLink(t, card("mute"))
	if _, err := l.NC.Subscribe("runner.query.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	q, _ := question()
	q.Patience = 50 * time.Millisecond
	err := l.One(t.Context(), Wanted{On: "mute"}, q)
	if !errors.Is(err, ErrNoAnswer) || err.Error() != "cannot ask runner.query.at.mute: no answer in 50ms" {
		t.Errorf("got %v", err)
	}
	if err := l.Anyone(t.Context(), q); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("anyone: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q.Patience = 0
	if err := l.One(ctx, Wanted{On: "mute"}, q); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has left: got %v", err)
	}
}

// A runner that is full, or may not, is passed over for another, the freest first;
// an error that is the request's is everybody's.
func TestOthersAreAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code int
		text string
		next string // who answers in the end; "" if the first one's word counts
	}{
		"full":             {503, "No resources available. Please try later.", "free"},
		"busy":             {429, "too many queries at once", "free"},
		"not allowed":      {403, "the policy does not allow user root", "free"},
		"can't":            {400, "this runner can't isolate", "free"},
		"the request's":    {400, "invalid kind", ""},
		"an unknown thing": {404, "unknown run id x", ""},
	} {
		full := card("full")
		full.Running = 4
		half := card("half")
		half.Running = 2
		l := newLink(t, full, half, card("free"))
		answers(t, l, "any", "full", c.code, c.text)
		answers(t, l, "at.free", "free", 0, "")
		answers(t, l, "at.half", "half", 0, "")
		q, reply := question()
		err := l.One(t.Context(), Wanted{}, q)
		if c.next != "" && (err != nil || reply.GetNext() != c.next) || c.next == "" && CodeOf(err) != c.code {
			t.Errorf("%s: got %v, %v, want an answer of %q", name, reply, err, c.next)
		}
	}
}

// If all refuse, the first one's words count, with its name where they are its own.
func TestAllRefuse(t *testing.T) {
	t.Parallel()
	l := newLink(t, card("web1"), card("web2"))
	answers(t, l, "any", "web1", 403, "the policy does not allow it")
	answers(t, l, "at.web2", "web2", 403, "nor here")
	q, _ := question()
	if err := l.One(t.Context(), Wanted{}, q); err == nil || err.Error() != "runner web1: the policy does not allow it" {
		t.Errorf("got %v", err)
	}
	var refusal *Refusal
	err := l.One(t.Context(), Wanted{On: "web2"}, q)
	if !errors.As(err, &refusal) || refusal.Runner != "web2" || refusal.Code != 403 || err.Error() != "nor here" {
		t.Errorf("got %v", err)
	}
}

// With a selector the cards are asked one after the other.
func TestWhereAsksByName(t *testing.T) {
	t.Parallel()
	busy := card("a")
	l := newLink(t, busy, card("b"), card("c"))
	answers(t, l, "at.a", "a", 503, "No resources available")
	answers(t, l, "at.b", "b", 0, "")
	q, reply := question()
	if err := l.One(t.Context(), Wanted{Where: `name != "c"`}, q); err != nil || reply.GetNext() != "b" {
		t.Errorf("got %v, %v", reply, err)
	}
	if err := l.One(t.Context(), Wanted{Where: `name == "a"`}, q); !errors.Is(err, ErrNoRunners) {
		t.Errorf("all of them full: got %v", err)
	}
}

func TestHeadersOfARequest(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	h := l.Headers(WithUser(t.Context(), "ann"), time.Hour)
	deadline, err := time.Parse(time.RFC3339Nano, h.Get(subjects.HeaderDeadline))
	if err != nil || time.Until(deadline) < 50*time.Minute || time.Until(deadline) > 70*time.Minute {
		t.Errorf("got a deadline of %v, %v, want one in an hour", deadline, err)
	}
	if h.Get(subjects.HeaderUser) != "ann" || h.Get(subjects.HeaderContentType) != subjects.Protobuf {
		t.Errorf("got %v", h)
	}
	if h := l.Headers(t.Context(), time.Hour); h.Get(subjects.HeaderUser) != "" {
		t.Errorf("for nobody: got %v", h)
	}
	if h := l.Headers(WithUser(t.Context(), "two\nlines"), time.Hour); h.Get(subjects.HeaderUser) != "" {
		t.Errorf("a name that is none: got %v", h)
	}
}

// The server's word about permissions says who may not do what.
func TestDenialsAreRead(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	for text, want := range map[string]Denial{
		`nats: Permissions Violation for Publish to "runner.task.any"`:    {Subject: "runner.task.any"},
		`nats: Permissions Violation for Subscription to "_INBOX.x.*"`:    {Subscribe: true, Subject: "_INBOX.x.*"},
		`Permissions Violation for Publish to "a" using queue "q" beside`: {Subject: "a"},
	} {
		if got, known := l.readDenial(errors.New(text)); !known || got != want {
			t.Errorf("%s: got %+v, %t", text, got, known)
		}
	}
	if _, known := l.readDenial(errors.New("Authorization Violation")); known {
		t.Error("another violation was taken for one")
	}
}

func TestWhatAWaiterNeeds(t *testing.T) {
	t.Parallel()
	l := newLink(t)
	for subject, want := range map[string]bool{"runner.task.any": true, "_INBOX.abc": true, "runner.task.all": false, "_INBOXES.a": false} {
		if got := l.Asking("runner.task.any")(subject); got != want {
			t.Errorf("asking, %s: got %t", subject, got)
		}
	}
	for subject, want := range map[string]bool{
		"$JS.API.CONSUMER.CREATE.RUNNER_LOG.x": true, "$JS.hub.API.STREAM.INFO.RUNNER_LOG": true, "$JS.API.CONSUMER.DELETE.RUNNER_LOG.x": false,
		"$JS.API.STREAM.INFO.OTHER": false, "runner.task.any": false, "_INBOX.x": true,
	} {
		if got := l.Reading("RUNNER_LOG")(subject); got != want {
			t.Errorf("reading, %s: got %t", subject, got)
		}
	}
	for subject, want := range map[string]bool{"$KV.runner_runs.x": true, "$JS.API.INFO": true, "hub.API.INFO": true, "runner.task.any": false} {
		if got := ReadingRecords(subject); got != want {
			t.Errorf("reading records, %s: got %t", subject, got)
		}
	}
}

func TestOrDenied(t *testing.T) {
	denied := fmt.Errorf("no: %w", nats.ErrPermissionViolation)
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := OrDenied(ctx, nil); err != nil {
		t.Errorf("got %v", err)
	}
	other := errors.New("other")
	if err := OrDenied(ctx, other); err != other {
		t.Errorf("got %v, want %v", err, other)
	}
	cancel(denied)
	if err := OrDenied(ctx, ctx.Err()); !errors.Is(err, denied) {
		t.Errorf("got %v, want %v", err, denied)
	}
	if err := OrDenied(ctx, nil); err != nil {
		t.Errorf("what went well: got %v", err)
	}
}

// Before the first runner was there, a fleet is empty, and its queue can be made.
func TestFleetThatIsNotThere(t *testing.T) {
	t.Parallel()
	nc := rig.Connect(t, rig.Memory(t))
	space, _ := subjects.New("acme")
	l := New(Config{NC: nc, JS: rig.JetStream(t, nc), Space: space, Timeout: rig.Patience})
	if all, err := l.Cards(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("got %v, %v", all, err)
	}
	if _, err := l.Queue(t.Context()); !errors.Is(err, store.ErrNoFleet) {
		t.Errorf("got %v, want %v", err, store.ErrNoFleet)
	}
	if _, err := l.MakeQueue(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
	first, err := l.Queue(t.Context())
	second, err2 := l.Queue(t.Context())
	if err != nil || err2 != nil || first != second {
		t.Errorf("got %p and %p, %v, %v, want one queue", first, second, err, err2)
	}
}
