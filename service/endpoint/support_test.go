package endpoint_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/subjects"
	"github.com/runnel-io/runnel/tests/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	glance = `{"kind":"runner","spec":{"glance":{}}}`
	soon   = 20 * time.Second // for what takes milliseconds
)

// table is a server of rows that answers on a NATS server of its own.
type table struct {
	*endpoint.Server
	t   *testing.T
	nc  *nats.Conn // asks
	nts *embedded.Server
	log *rig.Buffer
	end context.CancelCauseFunc
}

func serve(t *testing.T, cfg endpoint.Config) *table {
	t.Helper()
	s := &table{t: t, nts: rig.Memory(t), log: &rig.Buffer{}}
	s.nc = rig.Connect(t, s.nts)
	cfg.Conn = rig.Connect(t, s.nts)
	cfg.Space, _ = subjects.New("")
	cfg.Runner, cfg.Instance, cfg.Pools, cfg.Version = "web1", "INSTANCE", []string{"db"}, "0.0.1"
	cfg.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	ctx, end := context.WithCancelCause(context.Background())
	s.end = end
	var err error
	if s.Server, err = endpoint.New(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		end(endpoint.ErrStopping)
		s.Close()
		s.Wait()
	})
	return s
}

type glanceFunc = func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*pb.GlanceReply, error)

// looking is a table of one row, glance.
func looking(f glanceFunc) endpoint.Row {
	return endpoint.Row{Verb: subjects.Glance, Reach: endpoint.ReachEverywhere, Handle: endpoint.Handle(f), Smaller: "ask for less"}
}

func sees(text string) glanceFunc {
	return func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*pb.GlanceReply, error) {
		return &pb.GlanceReply{Error: text}, nil
	}
}

func fails(err error) glanceFunc {
	return func(context.Context, *endpoint.Request, *pb.GlanceRequest) (*pb.GlanceReply, error) { return nil, err }
}

func (s *table) ask(subject, body string, headers ...string) *nats.Msg {
	s.t.Helper()
	msg := nats.NewMsg(subject)
	msg.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		msg.Header[headers[i]] = []string{headers[i+1]}
	}
	reply, err := s.nc.RequestMsg(msg, soon)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", subject, err, s.log)
	}
	return reply
}

// isError checks both headers and the body that agrees with them.
func isError(t *testing.T, reply *nats.Msg, code, text string) {
	t.Helper()
	var body struct {
		Error string
		Code  json.Number
	}
	if err := json.Unmarshal(reply.Data, &body); err != nil {
		t.Errorf("the error is not JSON: %v: %.200s", err, reply.Data)
	}
	inHeader := reply.Header.Get("Nats-Service-Error")
	if reply.Header.Get("Nats-Service-Error-Code") != code || string(body.Code) != code || inHeader != body.Error || !strings.Contains(inHeader, text) {
		t.Errorf("got %v %.300s, want %s, %s", reply.Header, reply.Data, code, text)
	}
}

func isReply(t *testing.T, reply *nats.Msg, text string) {
	t.Helper()
	if reply.Header.Get("Nats-Service-Error-Code") != "" || !strings.Contains(string(reply.Data), text) {
		t.Errorf("got %v %.300s, want %s", reply.Header, reply.Data, text)
	}
}
