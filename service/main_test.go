package service_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/sandbox"
)

// TestMain is a runner's process, too.
func TestMain(m *testing.M) {
	sandbox.ShimMain() // and what isolates its runs
	if config := os.Getenv(asRunner); config != "" {
		os.Exit(beRunner(config))
	}
	goleak.VerifyTestMain(m)
}

// fleet is a server with runners, and a connection that has nothing of ours.
type fleet struct {
	t      *testing.T
	server *embedded.Server
	nc     *nats.Conn
	// curious runners look at the start for what the host can do.
	curious bool
	dataDir string // of the last runner
	// patience with a run that says nothing. 0: 30 s.
	patience time.Duration
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	server, err := embedded.Start(embedded.Config{InProcessOnly: true, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fleet{t: t, server: server}
	f.nc = f.connect()
	return f
}

func (f *fleet) connect() *nats.Conn {
	f.t.Helper()
	nc, err := f.server.Connect()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(nc.Close)
	return nc
}

// start starts a runner that the test's end closes.
func (f *fleet) start(cfg service.Config) *service.Service {
	f.t.Helper()
	if cfg.Name == "" {
		cfg.Name = "web1"
	}
	if cfg.DataDir == "" {
		cfg.DataDir = f.t.TempDir()
	}
	f.dataDir = cfg.DataDir
	cfg.OnDemand = !f.curious
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(testWriter{f.t}, nil))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := service.Start(ctx, f.connect(), cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(s.Close)
	return s
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// answer is a reply as a client in any language sees it.
type answer struct {
	*nats.Msg
	body map[string]any
}

func (f *fleet) ask(subject, body string, header ...string) answer {
	f.t.Helper()
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(header); i += 2 {
		msg.Header[header[i]] = []string{header[i+1]}
	}
	reply, err := f.nc.RequestMsg(msg, 10*time.Second)
	if err != nil {
		f.t.Fatalf("%s %s: %v", subject, body, err)
	}
	a := answer{Msg: reply}
	if err := json.Unmarshal(reply.Data, &a.body); err != nil {
		f.t.Fatalf("%s: the reply is not JSON: %v: %s", subject, err, reply.Data)
	}
	return a
}

// at is a field of the reply by its path.
func (a answer) at(path ...string) any {
	var v any = a.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// eventually waits for a condition that somebody else brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // polls a condition; nothing depends on its length
	}
}
