package gateway_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/tests/rig"
)

// A full fleet is waited for for a second; then each route says 429, and when to
// come again. A place that becomes free meanwhile is taken.
func TestFullFleet(t *testing.T) {
	w := bare(t)
	r, err := service.Start(rig.Within(t, time.Minute), w.fleet.Conn(), service.Config{
		Name: "r1", DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Settings: service.Settings{Slots: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w.url = w.gateway()
	const run = `{"language":"bash","version":"*","files":[{"content":"true"}]}`
	rig.EventuallyIn(t, 3*time.Minute, "bash is known, and a place is free", func() bool {
		res, _ := w.do("POST", "/api/v2/execute", run, bearer(t), "Content-Type: application/json")
		return res.StatusCode == 200
	})
	var busy startedJSON
	rig.Eventually(t, "the place is free again", func() bool {
		return w.send("POST", "/api/v1/runs", `{"command":"sleep 100"}`, &busy, auth.ScopeRun) == 202
	})
	for _, c := range []struct{ path, body, want string }{
		{"/api/v1/run", `{"source":"true","language":"bash"}`, `{"error":"all runners are busy: try again in a second"}`},
		{"/api/v2/execute", run, `{"message":"all runners are busy: try again in a second"}`},
		{"/api/v1/runs", `{"command":"true"}`, `{"error":"all runners that are meant are busy: try again in a second"}`},
		{"/api/v1/runs", `{"command":"true","target":{"pool":"default"}}`, `{"error":"all runners that are meant are busy: try again in a second"}`},
	} {
		began := time.Now()
		res, text := w.do("POST", c.path, c.body, bearer(t, auth.ScopeAdmin), "Content-Type: application/json")
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s %s: %d %v %s", c.path, c.body, res.StatusCode, res.Header, text)
		}
		if took := time.Since(began); took < time.Second {
			t.Errorf("%s gave up after %s", c.path, took)
		}
	}
	if code := w.send("POST", "/api/v1/runs", `{"command":"true","target":{"pool":"nosuch"}}`, nil, auth.ScopeRun); code != 503 {
		t.Errorf("a pool that nobody is in: %d", code)
	}
	w.send("POST", "/api/v1/runs/"+busy.ID+"/abort?wait=20s", "", nil, auth.ScopeRun)
	rig.Eventually(t, "the place is taken once it is free", func() bool {
		return w.send("POST", "/api/v1/runs", `{"command":"true","wait":"20s"}`, nil, auth.ScopeRun) == 200
	})
}
