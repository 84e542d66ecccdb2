package service_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/hangfs"
	"github.com/runnel-io/runnel/tests/rig"
)

// TestMain is a runner's process, too.
func TestMain(m *testing.M) {
	sandbox.ShimMain() // and what isolates its runs
	glance.HelperMain()
	hangfs.Main()
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
	return newFleetWith(t, embedded.Config{})
}

func (f *fleet) connect() *nats.Conn {
	f.t.Helper()
	return rig.Connect(f.t, f.server)
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
		cfg.Logger = rig.Logger(f.t)
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
