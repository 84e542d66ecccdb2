package mcp_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/mcp"
	"github.com/runnel-io/runnel/tests/rig"
)

// Lines that are no messages are answered, and harm no other.
func TestGarbage(t *testing.T) {
	f := &world{t: t}
	in, out := strings.Builder{}, strings.Builder{}
	for _, line := range []string{
		"hello", "{", "[]", "42", `{"jsonrpc":"1.0","id":1,"method":"x"}`, "\x00\xff", strings.Repeat("x", 5<<20), "", `{"id":{},"jsonrpc":"2.0","method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":9,"result":{}}`, "more",
		`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"run","arguments":[1]}}`,
	} {
		in.WriteString(line + "\n")
	}
	w := f.t
	server := mcp.New(mcp.Config{Logger: rig.Logger(w)})
	if err := server.Serve(rig.Within(t, time.Minute), strings.NewReader(in.String()), &out); err != nil {
		t.Error(err)
	}
	text := out.String()
	if n := strings.Count(text, `"id":null`); n != 9 {
		t.Errorf("%d lines of 9 were answered as garbage:\n%s", n, text)
	}
	if !strings.Contains(text, "-32700") || !strings.Contains(text, "-32600") || !strings.Contains(text, `"serverInfo"`) || !strings.Contains(text, `"list_hosts"`) || !strings.Contains(text, `"id":3`) {
		t.Errorf("%s", text)
	}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if !strings.HasPrefix(s.Text(), `{"`) {
			t.Errorf("no message: %s", s.Text())
		}
	}
}

// A server that is stopped ends its calls.
func TestStop(t *testing.T) {
	w := open(t)
	ctx, stop := context.WithCancel(rig.Within(t, time.Minute))
	toServer, fromAgent := io.Pipe()
	toAgent, fromServer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- mcp.New(mcp.Config{Client: w.asks}).Serve(ctx, toServer, fromServer)
		_ = fromServer.Close()
		_ = toServer.Close()
	}()
	a := &agent{t: t}
	a.ClientSession = dial(t, a, &sdk.IOTransport{Reader: toAgent, Writer: fromAgent})
	call := make(chan error, 1)
	go func() {
		_, err := a.CallTool(ctx, &sdk.CallToolParams{Name: "run", Arguments: args{"command": "sleep 100", "wait_seconds": 600}})
		call <- err
	}()
	rig.Eventually(t, "it runs", func() bool {
		reply, err := w.asks.Query(ctx, &pb.Query{All: true, States: []pb.State{pb.State_RUNNING}})
		return err == nil && len(reply.GetRuns()) == 1
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-call; err == nil {
		t.Error("the call has a result")
	}
	_ = a.Close()
}
