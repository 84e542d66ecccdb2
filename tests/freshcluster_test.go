package tests

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/runnel-io/runnel/tests/rig"
)

// Three runners that start at once on a cluster that has no leader yet all get
// to be ready, whatever JetStream says meanwhile.
func TestRunnersOnAFreshCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	rounds := 1
	if os.Getenv("RUNNEL_LONG") != "" { // tests/prove
		rounds = 20
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i+1), threeRunnersAtOnce)
	}
}

func threeRunnersAtOnce(t *testing.T) {
	servers := rig.Forming(t, 3)
	var runners []*rig.Process
	for i, s := range servers {
		runners = append(runners, serve(t, "--server", s.ClientURL(), "--name", fmt.Sprintf("web%d", i), "--replicas", "3"))
	}
	t.Cleanup(func() {
		for _, r := range runners {
			if t.Failed() {
				t.Log(r.Output())
			}
		}
	})
	for _, r := range runners {
		rig.EventuallyIn(t, 90*time.Second, "a runner is ready", func() bool { return strings.Contains(r.Output(), " ready: ") })
	}
}

// A server that comes a while after its runner is waited for, and health says
// why the runner is not ready.
func TestServeWaitsForItsServer(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	server := rig.Start(t, natsserver.Options{})
	server.Stop()
	p := serve(t, "--server", server.ClientURL(), "--name", "web1", "--http", "127.0.0.1:0")
	rig.Eventually(t, "health says what it waits for", func() bool {
		h := health(p)
		return strings.Contains(h, `"state":"initialising"`) && strings.Contains(h, "connection refused")
	})
	server.Again()
	p.Says(" ready: ")
	rig.Eventually(t, "it is ready", func() bool { return strings.Contains(health(p), `"state":"ready"`) })
}

// Wrong credentials at the first connection end a start at once, and so does an
// address that nobody answers on, where no waiting is asked for.
func TestServeEndsAtOnce(t *testing.T) {
	server := rig.Start(t, natsserver.Options{Username: "u", Password: "right"})
	for name, args := range map[string][]string{
		"not let in":         {"--server", server.ClientURL(), "--user", "u", "--password", "wrong", "--connect-wait", "10m"},
		"connection refused": {"--server", fmt.Sprintf("nats://127.0.0.1:%d", rig.FreePort(t)), "--connect-wait", "0s"},
	} {
		began := time.Now()
		p := serve(t, append(args, "--name", "web1")...)
		if code := p.Wait(); code != 125 || !strings.Contains(p.Output(), name) {
			t.Errorf("%s: got %d, %s", name, code, p.Output())
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}
