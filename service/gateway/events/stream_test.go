package events

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	m.Run()
}

// office is the room with a fleet of one runner.
type office struct {
	t   *testing.T
	c   *client.Client
	url string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	f := fleet.New(t, service.Config{Name: "r1"})
	js, err := jetstream.New(f.Conn())
	if err != nil {
		t.Fatal(err)
	}
	space, err := subjects.New("")
	if err != nil {
		t.Fatal(err)
	}
	c := f.Client()
	h := &room.House{Space: space, JS: js, Client: c, Log: slog.New(slog.DiscardHandler), Life: t.Context(), Tails: tails.New(c), Feeds: feed.OpenAll(js, space, slog.New(slog.DiscardHandler))}
	mux := http.NewServeMux()
	for _, route := range Routes(h) {
		mux.HandleFunc(route.Method+" "+route.Path, route.Handle)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.Close(); h.Feeds.Close(); h.Tails.Close() })
	return &office{t, c, server.URL}
}

func (o *office) run(argv ...string) *pb.Run {
	o.t.Helper()
	ctx := rig.Within(o.t, time.Minute)
	task := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: argv}}}
	out, err := o.c.Run(ctx, client.Target{}, task, client.RunEvents{})
	if err != nil {
		o.t.Fatal(err)
	}
	run, err := o.c.Wait(ctx, out.Run.GetId())
	if err != nil {
		o.t.Fatal(err)
	}
	return run
}

// event is one of a stream.
type event struct{ kind, id, data string }

// listener reads a stream of events.
type listener struct {
	t    *testing.T
	in   *bufio.Scanner
	stop context.CancelFunc
	code int
}

func (o *office) listen(query, last string) *listener {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*time.Minute)
	o.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", o.url+"/api/v1/events?"+query, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { cancel(); res.Body.Close() })
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	return &listener{o.t, in, cancel, res.StatusCode}
}

// next is the next event; none is one at the end.
func (l *listener) next() (e event) {
	for l.in.Scan() {
		line := l.in.Text()
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "event":
			e.kind = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "":
			if e.data != "" {
				return e
			}
		}
	}
	return event{}
}

// until is the first event of a kind that has a text in it, and what came before.
func (l *listener) until(kind, text string) (found event, before []event) {
	l.t.Helper()
	for {
		e := l.next()
		if e == (event{}) {
			l.t.Fatalf("the stream has ended, without %s %s: %v", kind, text, before)
		}
		if e.kind == kind && strings.Contains(e.data, text) {
			return e, before
		}
		before = append(before, e)
	}
}

func TestStream(t *testing.T) {
	o := newOffice(t)
	run := o.run("seq", "300")
	t.Run("a log, and then from the middle", func(t *testing.T) {
		l := o.listen("topics=log:"+run.GetId(), "")
		end, logs := l.until("end", `"state":"COMPLETE"`)
		records := 0
		for _, e := range logs {
			records += strings.Count(e.data, `"message":`)
		}
		if records != 300 || end.id != "log:"+run.GetId()+"=end" || l.next() != (event{}) {
			t.Errorf("%d records, the end is at %s", records, end.id)
		}
		if _, rest := o.listen("topics=log:"+run.GetId(), logs[0].id).until("end", ""); len(rest) != len(logs)-1 {
			t.Errorf("%d events behind the first of %d", len(rest), len(logs))
		}
		if l := o.listen("topics=log:"+run.GetId(), end.id); l.code != 204 {
			t.Errorf("behind the end: %d", l.code)
		}
		_, tail := o.listen("topics=log:"+run.GetId()+"@-1", "").until("end", "")
		if len(tail) != 1 || !strings.Contains(tail[0].data, `"message":"300"`) {
			t.Errorf("the last line: %v", tail)
		}
	})
	t.Run("a run that nobody knows", func(t *testing.T) {
		if e, before := o.listen("topics=log:nosuch", "").until("end", ""); len(before) > 0 || e.data != `{"run":"nosuch","error":"unknown run id nosuch"}` {
			t.Errorf("%v", e)
		}
	})
	t.Run("runs, and what changes of them", func(t *testing.T) {
		l := o.listen("topics=runs", "")
		at, before := l.until("current", `"topic":"runs"`)
		if len(before) == 0 || !strings.Contains(before[0].data, run.GetId()) || before[0].id != "" || !strings.HasPrefix(at.id, "runs=") {
			t.Errorf("%v, %v", before, at)
		}
		second := o.run("true")
		e, _ := l.until("run", second.GetId())
		if e.id == "" {
			t.Errorf("no place: %v", e)
		}
		if e, _ := o.listen("topics=runs", at.id).until("run", ""); !strings.Contains(e.data, second.GetId()) {
			t.Errorf("behind %s comes %v", at.id, e)
		}
	})
	t.Run("the fleet", func(t *testing.T) {
		e, before := o.listen("topics=fleet,log:"+run.GetId()+"@300", "").until("current", `"topic":"fleet"`)
		var runner event
		for _, e := range before {
			if e.kind == "runner" {
				runner = e
			}
		}
		if !strings.HasPrefix(runner.data, `{"name":"r1","online":true,"seen":"2`) || !strings.Contains(e.id, "fleet=") {
			t.Errorf("%v, %v", before, e)
		}
	})
	t.Run("from a place that is none", func(t *testing.T) {
		l := o.listen("topics=runs", "nonsense")
		if e := l.next(); e.kind != "reset" || e.data != "{}" {
			t.Errorf("%v", e)
		}
		l.until("current", "")
		if _, before := o.listen("topics=runs", "runs=99999999").until("current", ""); len(before) == 0 || before[0].kind != "reset" {
			t.Errorf("a place that is not there yet: %v", before)
		}
	})
	t.Run("what is none", func(t *testing.T) {
		for _, query := range []string{"", "topics=", "topics=moon", "topics=log:", "topics=runs,runs"} {
			if l := o.listen(query, ""); l.code != 400 {
				t.Errorf("%s: %d", query, l.code)
			}
		}
	})
}
