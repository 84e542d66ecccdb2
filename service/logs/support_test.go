package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		child()
	}
	goleak.VerifyTestMain(m)
}

var (
	done  = lines.End{State: "COMPLETE", Reason: "exit"}
	space = func() subjects.Space {
		s, err := subjects.New("")
		if err != nil {
			panic(err)
		}
		return s
	}()
)

const runID = "r1"

// host is a machine with a NATS server that can be stopped and started again on the same port and store.
type host struct {
	t    testing.TB
	dir  string
	port int
	srv  *embedded.Server
	nc   *nats.Conn
	js   jetstream.JetStream
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), port: embedded.AnyPort}
	h.start()
	h.nc, h.js = h.connect(h.srv.URL())
	if err := EnsureStream(h.ctx(), h.js, space, StreamConfig{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) start() {
	h.t.Helper()
	srv := rig.Embedded(h.t, embedded.Config{DataDir: filepath.Join(h.dir, "data"), Port: h.port})
	_, port, err := net.SplitHostPort(srv.ListenAddress())
	if err != nil {
		h.t.Fatal(err)
	}
	h.port, err = strconv.Atoi(port)
	if err != nil {
		h.t.Fatal(err)
	}
	h.srv = srv
}

func (h *host) stop() { h.srv.Close() }

func (h *host) connect(url string) (*nats.Conn, jetstream.JetStream) {
	h.t.Helper()
	key, err := nats.NkeyOptionFromSeed(h.srv.SeedFile())
	if err != nil {
		h.t.Fatal(err)
	}
	nc, js := dial(h.t, url, key)
	return nc, js
}

func dial(t testing.TB, url string, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func (h *host) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *host) config(js jetstream.JetStream) Config {
	return Config{JS: js, Subject: space.Log("web1", runID), SpoolPath: filepath.Join(h.dir, "spool")}
}

func (h *host) options() FollowOptions {
	return FollowOptions{Stream: space.LogStream(), Subject: space.Log("web1", runID)}
}

// noConsumers fails if the stream has any.
func (h *host) noConsumers() {
	h.t.Helper()
	stream, err := h.js.Stream(h.ctx(), space.LogStream())
	if err != nil {
		h.t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		h.t.Errorf("%d consumers are left behind", n)
	}
}

func (h *host) noSpool() {
	h.t.Helper()
	if _, err := os.Stat(filepath.Join(h.dir, "spool")); !errors.Is(err, os.ErrNotExist) {
		h.t.Errorf("the spool file is left behind (%v)", err)
	}
}

// output is what a reader got.
type output struct {
	text   [2]bytes.Buffer
	gaps   int
	ends   int
	first  int64
	result FollowResult
}

func (o *output) each(r lines.Record) error {
	if o.first == 0 {
		o.first = r.Pos
	}
	switch {
	case r.End != nil:
		o.ends++
	case r.Gap != nil:
		o.gaps++
	default:
		o.text[r.Stream].Write(r.Text)
		if !r.Open {
			o.text[r.Stream].WriteByte('\n')
		}
	}
	return nil
}

func follow(t testing.TB, ctx context.Context, js jetstream.JetStream, options FollowOptions) *output {
	t.Helper()
	o := new(output)
	var err error
	if o.result, err = Follow(ctx, js, options, o.each); err != nil {
		t.Fatal(err)
	}
	return o
}

// inBackground follows while the test goes on.
func inBackground(t testing.TB, ctx context.Context, js jetstream.JetStream, options FollowOptions) (wait func() *output) {
	o := new(output)
	finished := make(chan error, 1)
	go func() {
		var err error
		o.result, err = Follow(ctx, js, options, o.each)
		finished <- err
	}()
	return func() *output {
		t.Helper()
		if err := <-finished; err != nil {
			t.Fatal(err)
		}
		return o
	}
}

// whole fails unless a reader got exactly what was written, and knows it.
func (o *output) whole(t testing.TB, want string) {
	t.Helper()
	if got := o.text[lines.Stdout].String(); got != want {
		t.Errorf("got %d bytes, want %d: %s", len(got), len(want), difference(got, want))
	}
	if r := o.result; r.End == nil || !r.Complete || !r.Verified || r.Truncated || r.Missing != 0 || r.Problem != nil {
		t.Errorf("result %+v, want a complete, verified log", r)
	}
	if o.ends != 1 {
		t.Errorf("got the EOF record %d times", o.ends)
	}
}

func difference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("they differ at %d: %.40q, want %.40q", i, got[i:], want[i:])
}

// numbered returns lines with their numbers.
func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func (h *host) close(w *Writer) lines.Totals {
	h.t.Helper()
	totals, err := w.Close(h.ctx(), done)
	if err != nil {
		h.t.Fatal(err)
	}
	return totals
}

func write(t testing.TB, w *Writer, text string) {
	t.Helper()
	if err := w.Write(lines.Stdout, []byte(text)); err != nil {
		t.Fatal(err)
	}
}
