package stream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	m.Run()
}

// ended is a house, and a run in it that has printed and ended.
func ended(t *testing.T, script string) (*room.House, *pb.Run) {
	t.Helper()
	c := fleet.New(t, service.Config{Name: "r1"}).Client()
	h := &room.House{Client: c, Log: slog.New(slog.DiscardHandler), Tails: tails.New(c), Life: t.Context()}
	t.Cleanup(h.Tails.Close)
	ctx := rig.Within(t, time.Minute)
	task := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{Argv: []string{"bash", "-c", script}}}}
	out, err := c.Run(ctx, client.Target{}, task, client.RunEvents{})
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.Wait(ctx, out.Run.GetId())
	if err != nil {
		t.Fatal(err)
	}
	return h, run
}

// get is the answer that a handler gives to a request with headers.
func get(method string, handle http.HandlerFunc, headers ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, "/", nil), httptest.NewRecorder()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	handle(w, r)
	return w
}

func TestLogs(t *testing.T) {
	h, run := ended(t, `printf 'one\ntwo\n'; sleep 0.1; echo oops >&2; sleep 0.1; printf three`)
	ctx := rig.Within(t, time.Minute)
	tips, err := Tips(ctx, h.Client, []*pb.Run{run})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("as text", func(t *testing.T) { testText(t, h, run) })
	t.Run("a range of it", func(t *testing.T) { testRanges(t, h, run) })
	t.Run("as events", func(t *testing.T) { testEvents(t, h, run) })
	t.Run("who has all of it", func(t *testing.T) {
		last := Place{Seq: tips[0].Seq, Record: tips[0].Records}
		for _, c := range []struct {
			at   Place
			past bool
		}{{Place{}, false}, {Place{Seq: 1, Record: 1}, false}, {last, true}, {Place{Seq: last.Seq + 1, Record: 1}, true}} {
			if past, err := IsPast(ctx, h.Client, run, c.at); err != nil || past != c.past {
				t.Errorf("at %v: %v, %v", c.at, past, err)
			}
		}
		if past, err := IsPast(ctx, h.Client, &pb.Run{Id: run.GetId(), State: pb.State_RUNNING}, last); past || err != nil {
			t.Errorf("of a run that goes on: %v, %v", past, err)
		}
	})
	t.Run("of a stream that is not there", func(t *testing.T) {
		if _, err := Tips(ctx, h.Client, []*pb.Run{{Id: "x", LogStream: "nosuch", LogSubject: "nosuch"}}); err == nil {
			t.Error("it has a tip")
		}
	})
}

func testText(t *testing.T, h *room.House, run *pb.Run) {
	handle := func(text Text) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			tips, err := Tips(r.Context(), h.Client, text.Runs)
			if err != nil {
				t.Error(err)
				return
			}
			text.Tips, text.Tag = tips, Tag(text.Runs, tips, "x")
			Send(w, r, h, text)
		}
	}
	out := handle(Text{Runs: []*pb.Run{run}, Stream: lines.Stdout})
	w := get("GET", out)
	tag := w.Header().Get("ETag")
	if w.Code != 200 || w.Body.String() != "one\ntwo\nthree" || w.Header().Get("Accept-Ranges") != "bytes" || w.Header().Get("Content-Type") != PlainType || tag == "" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w := get("GET", out, "If-None-Match: "+tag); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("with its tag: %d %q", w.Code, w.Body)
	}
	if w := get("HEAD", out); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("ETag") != tag {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
	z, err := gzip.NewReader(get("GET", out, "Accept-Encoding: gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != "one\ntwo\nthree" {
		t.Errorf("compressed: %q, %v", text, err)
	}
	for name, c := range map[string]struct {
		text Text
		want string
	}{
		"stderr":               {Text{Runs: []*pb.Run{run}, Stream: lines.Stderr}, "oops\n"},
		"the last line":        {Text{Runs: []*pb.Run{run}, Stream: lines.Stdout, Tail: 1}, "three"},
		"the last two":         {Text{Runs: []*pb.Run{run}, Stream: lines.Stdout, Tail: 2}, "two\nthree"},
		"no run":               {Text{Stream: lines.Stdout}, ""},
		"two runs, by runners": {Text{Runs: []*pb.Run{run, run}, Stream: lines.Stderr}, "r1: oops\nr1: oops\n"},
	} {
		if w := get("GET", handle(c.text), "Range: bytes=0-0"); w.Code == 200 && w.Body.String() != c.want || name != "stderr" && w.Code != 200 {
			t.Errorf("%s: %d %q, want %q", name, w.Code, w.Body, c.want)
		}
		if w := get("GET", handle(c.text)); w.Body.String() != c.want {
			t.Errorf("%s: %q, want %q", name, w.Body, c.want)
		}
	}
}

func testRanges(t *testing.T, h *room.House, run *pb.Run) {
	var tag string
	send := func(w http.ResponseWriter, r *http.Request) {
		tips, err := Tips(r.Context(), h.Client, []*pb.Run{run})
		if err != nil {
			t.Error(err)
			return
		}
		tag = Tag([]*pb.Run{run}, tips, "x")
		Send(w, r, h, Text{Runs: []*pb.Run{run}, Tips: tips, Stream: lines.Stdout, Tag: tag})
	}
	get("GET", send)
	for _, c := range []struct {
		headers      string
		code         int
		body, range_ string
	}{
		{"Range: bytes=0-2", 206, "one", "bytes 0-2/13"},
		{"Range: bytes=3-4", 206, "\nt", "bytes 3-4/13"},
		{"Range: bytes=-5", 206, "three", "bytes 8-12/13"},
		{"Range: bytes=4-", 206, "two\nthree", "bytes 4-12/13"},
		{"Range: bytes=0-99999", 206, "one\ntwo\nthree", "bytes 0-12/13"},
		{"Range: bytes=13-", 416, `{"error":"the text has 13 bytes"}`, "bytes */13"},
		{"Range: bytes=0-0,2-2", 200, "one\ntwo\nthree", ""},
		{"Range: lines=1-2", 200, "one\ntwo\nthree", ""},
		{"Range: bytes=0-2\nIf-Range: \"" + tag + `"`, 206, "one", "bytes 0-2/13"},
		{"Range: bytes=0-2\nIf-Range: \"other\"", 200, "one\ntwo\nthree", ""},
		{"Range: bytes=0-2\nIf-None-Match: \"" + tag + `"`, 304, "", ""},
		{"Range: bytes=0-2\nAccept-Encoding: gzip", 206, "one", "bytes 0-2/13"},
	} {
		w := get("GET", send, strings.Split(c.headers, "\n")...)
		if w.Code != c.code || w.Body.String() != c.body || w.Header().Get("Content-Range") != c.range_ {
			t.Errorf("%s: %d %q %v, want %d %q %s", c.headers, w.Code, w.Body, w.Header(), c.code, c.body, c.range_)
		}
	}
	if w := get("HEAD", send, "Range: bytes=0-2"); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}

// follow is what a client hears that is behind a place.
func follow(h *room.House, run *pb.Run, at Place, kind string) string {
	w := get("GET", func(w http.ResponseWriter, r *http.Request) {
		ctx, events, done := Open(h.Life, w, r)
		defer done()
		l := &Log{Events: events, House: h, At: at}
		if err := l.Run(ctx, run); err != nil {
			_ = l.Event("failed", "", []byte(err.Error()))
		}
		_ = l.SendEnd(kind)
	})
	return w.Body.String()
}

func testEvents(t *testing.T, h *room.House, run *pb.Run) {
	all := follow(h, run, Place{}, "end")
	events := strings.Split(strings.TrimSuffix(all, "\n\n"), "\n\n")
	if len(events) != 6 || events[0] != ": events" || !strings.HasPrefix(events[1], "id: 1.1\ndata: {") || !strings.Contains(events[4], "three") ||
		!strings.HasPrefix(events[5], "event: end\nid: ") || !strings.Contains(events[5], "COMPLETE") {
		t.Fatalf("%s", all)
	}
	_, id, _ := strings.Cut(events[2], "id: ")
	id, _, _ = strings.Cut(id, "\n")
	at, ok := PlaceOf(id)
	if !ok {
		t.Fatalf("%q is no place", id)
	}
	if rest := follow(h, run, at, "end"); rest != ": events\n\n"+strings.Join(events[3:], "\n\n")+"\n\n" {
		t.Errorf("behind %s: %s", id, rest)
	}
	if quiet := follow(h, run, Place{}, ""); strings.Contains(quiet, "event: end") || !strings.Contains(quiet, "COMPLETE") {
		t.Errorf("its end among the others: %s", quiet)
	}
	none := &pb.Run{Id: "x", State: pb.State_ABORTED}
	if text := follow(h, none, Place{}, "end"); text != ": events\n\nevent: end\nid: 1.1\ndata: {}\n\n" {
		t.Errorf("without a log: %s", text)
	}
	if text := follow(h, none, Place{}, ""); text != ": events\n\n" {
		t.Errorf("without a log or a kind: %s", text)
	}
}

func TestIsOver(t *testing.T) {
	for _, c := range []struct {
		past bool
		err  error
		code int
	}{{false, nil, 200}, {true, nil, 204}, {false, errors.New("away"), 503}, {true, errors.New("away"), 503}} {
		w := httptest.NewRecorder()
		if over := IsOver(w, c.past, c.err); over != (c.code != 200) || w.Code != c.code {
			t.Errorf("%+v: %v %d", c, over, w.Code)
		}
	}
}

// An event has what it is given, and no empty fields.
func TestFormOfEvents(t *testing.T) {
	w := get("GET", func(w http.ResponseWriter, r *http.Request) {
		_, s, done := Open(t.Context(), w, r)
		defer done()
		_ = s.Event("kind", "7", []byte("{}"))
		_ = s.Event("", "8", []byte("x"))
		_ = s.Event("bare", "", nil)
		s.Place("9")
		_ = s.EventOf("", "", func(out *bufio.Writer) { _, _ = out.WriteString("made") })
	})
	const want = ": events\n\nevent: kind\nid: 7\ndata: {}\n\nid: 8\ndata: x\n\nevent: bare\ndata: \n\nid: 9\n\ndata: made\n\n"
	if w.Body.String() != want {
		t.Errorf("%q, want %q", w.Body, want)
	}
	h := w.Header()
	if h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-cache" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("%v", h)
	}
}

// broken is a client that takes no more.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone away") }

// A stream ends when its client takes nothing, and when the gateway stops.
func TestStreamsEnd(t *testing.T) {
	ctx, s, done := Open(t.Context(), broken{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil))
	<-ctx.Done()
	rig.Eventually(t, "an event fails", func() bool { return s.Event("", "1", []byte("x")) != nil })
	done()
	life, stop := context.WithCancel(t.Context())
	ctx, _, done = Open(life, httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	defer done()
	if ctx.Err() != nil {
		t.Error("it has ended at once")
	}
	stop()
	<-ctx.Done()
}

func TestPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := Pause(ctx, time.Millisecond); err != nil {
		t.Error(err)
	}
	cancel()
	if err := Pause(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Why a stream has ended early is in the log, unless its client has left.
func TestEndedEarly(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	left, cancel := context.WithCancel(t.Context())
	cancel()
	EndedEarly(t.Context(), log, nil)
	EndedEarly(left, log, errors.New("gone"))
	if out.Len() > 0 {
		t.Errorf("%s", out.String())
	}
	EndedEarly(t.Context(), log, errors.New("lost"))
	if !strings.Contains(out.String(), "lost") {
		t.Errorf("%s", out.String())
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]lines.Stream{"stderr": lines.Stderr, "stdout": lines.Stdout, "": lines.Stdout} {
		if got := Named(name); got != want {
			t.Errorf("%q is %v", name, got)
		}
	}
}
