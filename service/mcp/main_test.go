package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/mcp"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

func TestMain(m *testing.M) {
	sandbox.ShimMain()
	goleak.VerifyTestMain(m)
}

// world is a fleet of two runners with an engine.
type world struct {
	t     *testing.T
	fleet *fleet.Fleet
	asks  *client.Client
}

const definitions = `
pipelines:
  release:
    tasks:
      lint: {script: ['echo "lint {{ .tag }}"']}
      test: {script: ['echo ok'], depends_on: lint}
  slow:
    tasks:
      wait: {script: [sleep 100]}
`

func open(t *testing.T) *world {
	t.Helper()
	f := fleet.New(t, service.Config{Name: "web1", Pools: []string{"web"}, Settings: service.Settings{Labels: map[string]string{"env": "prod"}}}, service.Config{Name: "web2", Pools: []string{"web"}})
	e, err := pipeline.Start(rig.Within(t, time.Minute), f.Conn(), pipeline.Config{Name: "e1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	w := &world{t, f, f.Client()}
	if _, err := w.asks.Apply(rig.Within(t, time.Minute), definitions, client.ApplyOptions{Source: "test"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// agent is a real client of a server, over a pair of pipes.
type agent struct {
	t *testing.T
	*sdk.ClientSession
	hangUp   func() // as a client does that dies
	mu       sync.Mutex
	progress []string
}

func (w *world) agent(change ...func(*mcp.Config)) *agent {
	w.t.Helper()
	cfg := mcp.Config{Client: w.asks, Version: "test", Logger: rig.Logger(w.t)}
	for _, c := range change {
		c(&cfg)
	}
	toServer, fromAgent := io.Pipe()
	toAgent, fromServer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- mcp.New(cfg).Serve(context.Background(), toServer, fromServer)
		_ = fromServer.Close()
	}()
	a := &agent{t: w.t, hangUp: func() { _ = fromAgent.Close() }}
	a.ClientSession = dial(w.t, a, &sdk.IOTransport{Reader: toAgent, Writer: fromAgent})
	w.t.Cleanup(func() {
		_ = a.Close()
		if err := <-done; err != nil {
			w.t.Errorf("the server ended with %v", err)
		}
	})
	return a
}

func dial(t *testing.T, a *agent, transport sdk.Transport) *sdk.ClientSession {
	t.Helper()
	c := sdk.NewClient(&sdk.Implementation{Name: "test"}, &sdk.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *sdk.ProgressNotificationClientRequest) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.progress = append(a.progress, req.Params.Message)
		},
	})
	session, err := c.Connect(rig.Within(t, time.Minute), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

type args map[string]any

// call calls a tool and reads its result into out; an error of the tool is returned.
func (a *agent) call(name string, in args, out any) error {
	a.t.Helper()
	params := &sdk.CallToolParams{Name: name, Arguments: in}
	params.SetProgressToken("p")
	res, err := a.CallTool(rig.Within(a.t, 2*time.Minute), params)
	if err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	text := res.Content[0].(*sdk.TextContent).Text
	if res.IsError {
		return errors.New(text)
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		a.t.Fatalf("%s: %v: %s", name, err, text)
	}
	return nil
}

// must is call where nothing may go wrong.
func (a *agent) must(name string, in args, out any) {
	a.t.Helper()
	if err := a.call(name, in, out); err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
}

// refused calls a tool that must answer with an error, which has these words.
func (a *agent) refused(name string, in args, words string) {
	a.t.Helper()
	var out any
	if err := a.call(name, in, &out); err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		a.t.Errorf("%s %v: got %v and %v, want an error with %q", name, in, err, out, words)
	}
}

func (a *agent) said(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Contains(strings.Join(a.progress, "\n"), text)
}

// result is what run and follow answer.
type result struct {
	Runs []struct {
		Run, Runner, State, Output, Note, Error string
		ExitCode                                *int `json:"exit_code"`
		Cut                                     *struct {
			Bytes    int64
			FromLine int64 `json:"from_line"`
		}
	}
	Ended      bool
	Cursor     string
	Summary    string
	NotStarted []struct{ Runner, Error string } `json:"not_started"`
	Missing    []string
	Skipped    int
}
