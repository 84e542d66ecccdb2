package tests

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
	"github.com/runnel-io/runnel/tests/rig/fleet"
)

const mcpSecret = "sixteen bytes at least"

// mcpWorld is a fleet of two runners, with a gateway, and the way of the real
// program to it.
type mcpWorld struct {
	server *embedded.Server
	asks   *client.Client
	url    string
	home   string
}

func newMCPWorld(t *testing.T) *mcpWorld {
	t.Helper()
	server := rig.Embedded(t, embedded.Config{Port: embedded.AnyPort})
	for _, name := range []string{"web1", "web2"} {
		fleet.Runner(t, rig.Connect(t, server), service.Config{Name: name})
	}
	g, err := gateway.New(rig.Within(t, time.Minute), rig.Connect(t, server), gateway.Config{Secret: mcpSecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	front := httptest.NewServer(g.Handler())
	t.Cleanup(front.Close)
	return &mcpWorld{server, fleet.Client(t, rig.Connect(t, server)), front.URL + "/mcp", t.TempDir()}
}

// command is `runnel mcp` against the server.
func (w *mcpWorld) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(rig.Program(t), append([]string{"--server", w.server.URL(), "--nkey", w.server.SeedFile(), "mcp"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+w.home, "XDG_CONFIG_HOME="+w.home, "XDG_DATA_HOME="+w.home)
	return cmd
}

func (w *mcpWorld) stdio(t *testing.T, args ...string) *sdk.ClientSession {
	t.Helper()
	return mcpSession(t, &sdk.CommandTransport{Command: w.command(t, args...), TerminateDuration: time.Minute})
}

// bearer gives every request a token.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func (w *mcpWorld) http(t *testing.T, scopes ...auth.Scope) *sdk.ClientSession {
	t.Helper()
	token, err := auth.Token(mcpSecret, "alice", scopes, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return mcpSession(t, &sdk.StreamableClientTransport{Endpoint: w.url, HTTPClient: &http.Client{Transport: bearer(token)}, DisableStandaloneSSE: true})
}

func mcpSession(t *testing.T, transport sdk.Transport) *sdk.ClientSession {
	t.Helper()
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test"}, nil).Connect(rig.Within(t, time.Minute), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// mcpCall calls a tool: its text, and whether that is an error.
func mcpCall(t *testing.T, s *sdk.ClientSession, name string, args map[string]any) (string, bool) {
	t.Helper()
	res, err := s.CallTool(rig.Within(t, 3*time.Minute), &sdk.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return res.Content[0].(*sdk.TextContent).Text, res.IsError
}

type mcpRuns struct {
	Runs []struct {
		Run, Runner, State, Output string
		Cut                        *struct{ Bytes int64 }
	}
	Ended  bool
	Cursor string
}

func mcpRun(t *testing.T, s *sdk.ClientSession, name string, args map[string]any) (out mcpRuns) {
	t.Helper()
	text, failed := mcpCall(t, s, name, args)
	if failed {
		t.Fatalf("%s: %s", name, text)
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v: %s", name, err, text)
	}
	return out
}

// An agent's session, by a real client: with the real program, and over HTTP.
func TestAgent(t *testing.T) {
	w := newMCPWorld(t)
	t.Run("stdio", func(t *testing.T) { agentSession(t, w, w.stdio(t)) })
	t.Run("http", func(t *testing.T) { agentSession(t, w, w.http(t, auth.ScopeRead, auth.ScopeRun)) })
	t.Run("read-only", func(t *testing.T) {
		if text, failed := mcpCall(t, w.stdio(t, "--read-only"), "run", map[string]any{"command": "true"}); !failed || !strings.Contains(text, "read-only") {
			t.Errorf("stdio: %v %s", failed, text)
		}
		s := w.http(t, auth.ScopeRead)
		if text, failed := mcpCall(t, s, "run", map[string]any{"command": "true"}); !failed || text != "the token does not allow this: it needs scope run" {
			t.Errorf("http: %v %s", failed, text)
		}
		list, err := s.ListTools(rig.Within(t, time.Minute), nil)
		if err != nil || len(list.Tools) != 11 {
			t.Errorf("%d tools with scope read, not 11 (%v)", len(list.Tools), err)
		}
	})
	rig.Eventually(t, "no consumer is left", func() bool { return w.consumers(t) == 0 })
}

func (w *mcpWorld) consumers(t *testing.T) int {
	t.Helper()
	js := rig.JetStream(t, rig.Connect(t, w.server))
	stream, err := js.Stream(rig.Within(t, time.Minute), "RUNNER_LOG")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Consumers
}

func agentSession(t *testing.T, w *mcpWorld, s *sdk.ClientSession) {
	list, err := s.ListTools(rig.Within(t, time.Minute), nil)
	if err != nil || len(list.Tools) != 20 {
		t.Fatalf("%d tools, not 20 (%v)", len(list.Tools), err)
	}
	two := mcpRun(t, s, "run", map[string]any{"command": "echo hello", "all": true})
	if len(two.Runs) != 2 || two.Runs[0].Output != "hello\n" || two.Runs[1].Runner != "web2" || !two.Ended {
		t.Errorf("%+v", two)
	}
	gate := filepath.Join(t.TempDir(), "go")
	begun := mcpRun(t, s, "run", map[string]any{"command": "echo one; until [ -e " + gate + " ]; do sleep .05; done; echo two", "wait_seconds": 1})
	if begun.Ended || begun.Cursor == "" {
		t.Fatalf("%+v", begun)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := begun.Runs[0].Output
	last := mcpRun(t, s, "follow", map[string]any{"cursor": begun.Cursor, "wait_seconds": 100})
	if !last.Ended || first+last.Runs[0].Output != "one\ntwo\n" {
		t.Errorf("%q and then %+v", first, last)
	}
	sleeps := mcpRun(t, s, "run", map[string]any{"command": "sleep 1000", "wait_seconds": 0})
	if text, failed := mcpCall(t, s, "abort", map[string]any{"runs": []string{sleeps.Runs[0].Run}, "wait_seconds": 30}); failed || !strings.Contains(text, "ABORTED") {
		t.Errorf("%s", text)
	}
	size := 10_000_000
	if os.Getenv("RUNNEL_LONG") != "" {
		size = 100_000_000
	}
	much := mcpRun(t, s, "run", map[string]any{"command": "yes " + strings.Repeat("x", 99) + " | head -c " + strconv.Itoa(size), "wait_seconds": 170})
	run := much.Runs[0]
	if !much.Ended || run.Cut == nil || int(run.Cut.Bytes)+16<<10 < size || len(run.Output) > 17<<10 || !strings.Contains(run.Output, "bytes were cut here; get_log with from_line") {
		t.Errorf("%d bytes, ended %v, cut %+v", len(run.Output), much.Ended, run.Cut)
	}
}

// A client that dies while a call goes on leaves no process, no run and no consumer.
func TestAgentDies(t *testing.T) {
	w := newMCPWorld(t)
	running := func() int {
		reply, err := w.asks.Query(rig.Within(t, time.Minute), &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}})
		if err != nil {
			t.Fatal(err)
		}
		return len(reply.GetRuns())
	}
	const call = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
garbage
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"run","arguments":{"command":"sleep 1000","wait_seconds":600}}}
`
	t.Run("stdio", func(t *testing.T) {
		cmd := w.command(t)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p := rig.Run(t, cmd)
		if _, err := io.WriteString(in, call); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, "it runs", func() bool { return running() == 1 })
		p.Says("-32700")
		_ = in.Close()
		if code := p.Wait(); code != 0 {
			t.Errorf("it ended with %d: %s", code, p.Output())
		}
		rig.Eventually(t, "nothing is left", func() bool { return running() == 0 && w.consumers(t) == 0 })
	})
	t.Run("http", func(t *testing.T) {
		ctx, hangUp := context.WithCancel(rig.Within(t, time.Minute))
		token, _ := auth.Token(mcpSecret, "alice", []auth.Scope{auth.ScopeRun}, time.Hour)
		body := strings.Split(call, "\n")[3]
		req, _ := http.NewRequestWithContext(ctx, "POST", w.url, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		done := make(chan error, 1)
		go func() {
			res, err := bearer(token).RoundTrip(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			done <- err
		}()
		rig.Eventually(t, "it runs", func() bool { return running() == 1 })
		hangUp()
		<-done
		rig.Eventually(t, "nothing is left", func() bool { return running() == 0 && w.consumers(t) == 0 })
	})
}
