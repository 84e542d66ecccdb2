package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

// rpc sends a message of the Model Context Protocol as any client does, and gives
// the result, whether it comes as JSON or as an event.
func (w *world) rpc(message string, headers ...string) (status int, answer string) {
	w.t.Helper()
	res, text := w.do("POST", "/mcp", message, append(headers, "Content-Type: application/json", "Accept: application/json, text/event-stream")...)
	for line := range strings.Lines(text) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			text = strings.TrimSpace(data)
		}
	}
	return res.StatusCode, text
}

func TestMCPOverHTTP(t *testing.T) {
	w := open(t, func(cfg *gateway.Config) { cfg.Version = "1.2.3" })
	const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"0"}}}`
	var hello struct {
		Result struct {
			ServerInfo      struct{ Name, Version string }
			ProtocolVersion string
			Capabilities    struct{ Tools *struct{} }
		}
	}
	code, text := w.rpc(initialize, bearer(t))
	if err := json.Unmarshal([]byte(text), &hello); err != nil || code != 200 || hello.Result.ServerInfo.Name != "runnel" || hello.Result.ServerInfo.Version != "1.2.3" ||
		hello.Result.ProtocolVersion != "2025-06-18" || hello.Result.Capabilities.Tools == nil {
		t.Fatalf("initialize: %d %s", code, text)
	}
	// No session lives here: each request stands alone, at any gateway.
	other := &world{t: t, fleet: w.fleet}
	other.url = other.gateway()
	call := func(tool, arguments string) string {
		return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + arguments + `}}`
	}
	run := bearer(t, auth.ScopeRun)
	for _, c := range []struct {
		message string
		headers []string
		code    int
		want    string
	}{
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, []string{run}, 202, ""},
		{`{"jsonrpc":"2.0","id":"a","method":"ping"}`, []string{run}, 200, `"id":"a","result":{}`},
		{call("run", `{"command":"echo hi; exit 3"}`), []string{run}, 200, `"exit_code":3`},
		{call("run", `{"command":"true"}`), []string{bearer(t)}, 200, "the token does not allow this: it needs scope run"},
		{call("list_runs", `{}`), []string{run}, 200, "it needs scope read"},
		{call("run", `{}`), []string{run}, 200, "cannot run this: give either a command or argv"},
		{call("run", `{"command":"true","argv":["true"]}`), []string{run}, 200, "cannot run this: give either a command or argv"},
		{call("run", `{"command":5}`), []string{run}, 200, `"isError":true`},
		{call("nosuch", `{}`), []string{run}, 200, `"code":-32602`},
		{`{"jsonrpc":"2.0","id":1,"method":"nosuch"}`, []string{run}, 400, `{"error":"`},
		{"[" + initialize + "]", []string{run}, 400, `{"error":"several messages in one are not supported`},
		{`{`, []string{run}, 400, `{"error":"`},
		{initialize, nil, 401, `{"error":"no token found"}`},
		{strings.Repeat(" ", 1<<20) + initialize, []string{run}, 413, `{"error":`},
	} {
		for _, at := range []*world{w, other} {
			if code, text := at.rpc(c.message, c.headers...); code != c.code || !strings.Contains(text, c.want) {
				t.Errorf("%.200s: %d %s, want %d %s", strings.TrimSpace(c.message), code, text, c.code, c.want)
			}
		}
	}
	for _, method := range []string{"GET", "DELETE"} { // a stream of its own, or the end of a session
		if res, _ := w.do(method, "/mcp", "", run, "Accept: text/event-stream"); res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %d %v", method, res.StatusCode, res.Header)
		}
	}
}
