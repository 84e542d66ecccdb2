package service_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// guarded is a server with a password, and a runner there that gives up after so long.
func guarded(t *testing.T, giveUpAfter time.Duration) (*rig.Server, *nats.Conn, *service.Service) {
	t.Helper()
	server := rig.Start(t, natsserver.Options{Username: "u", Password: "right"})
	nc := rig.Dial(t, server.ClientURL(), nats.UserInfo("u", "right"), nats.IgnoreAuthErrorAbort())
	s, err := service.Start(rig.Within(t, rig.Patience), nc, service.Config{
		Name: "web1", DataDir: t.TempDir(), OnDemand: true, GiveUpAfter: giveUpAfter, Logger: rig.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return server, nc, s
}

// restart changes the server's password.
func restart(server *rig.Server, password string) {
	server.Stop()
	server.Change(func(o *natsserver.Options) { o.Password = password })
	server.Again()
}

// givesUp waits for the end of a service, which names its cause.
func givesUp(t *testing.T, s *service.Service, why string) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(rig.Patience):
		t.Fatal("it goes on for ever")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), why) || !strings.HasSuffix(err.Error(), "and nothing runs here") {
		t.Errorf("got %v", err)
	}
}

// A runner that NATS refuses ends itself after a while, for its service manager;
// not as long as something runs here, and not if it was let in again meanwhile.
func TestRefusedForLong(t *testing.T) {
	t.Parallel()
	const giveUpAfter = 2 * time.Second
	server, nc, s := guarded(t, giveUpAfter)
	gate, c := filepath.Join(t.TempDir(), "gate"), caller{t, nc}
	c.start("any", "holds", commands("until test -e "+gate+"; do sleep 0.05; done; echo done"))
	restart(server, "wrong")
	rig.Eventually(t, "health says that it is refused", func() bool { return strings.Contains(s.Health().Error, "Authorization Violation") })
	refused := time.Now()
	rig.Eventually(t, "it was refused for longer than it may be", func() bool { return time.Since(refused) > 2*giveUpAfter })
	if err := s.Err(); err != nil {
		t.Fatalf("it has given up with a run: %v", err)
	}
	restart(server, "right")
	rig.Eventually(t, "it is ready again", func() bool { return s.Health().State == service.StateReady })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if run := c.final("holds"); run["state"] != "COMPLETE" || run["logComplete"] != true {
		t.Errorf("the run: %v", run)
	}
	again := time.Now()
	restart(server, "wrong")
	givesUp(t, s, "Authorization Violation")
	if waited := time.Since(again); waited < giveUpAfter {
		t.Errorf("it has given up %s after it was refused again: the time before counted", waited)
	}
}

// A connection that was closed for good, by whoever has it, is no quiet end.
func TestClosedForGood(t *testing.T) {
	t.Parallel()
	_, nc, s := guarded(t, time.Second)
	nc.Close()
	rig.Eventually(t, "health says so", func() bool { return strings.Contains(s.Health().Error, "the connection to NATS was closed") })
	givesUp(t, s, "the connection to NATS was closed")
}
