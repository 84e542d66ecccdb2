package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/tests/rig"
)

// waiting is a server that is to be reached at an address.
func waiting(t *testing.T, address string, wait time.Duration) *command {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("NATS_URL", "")
	c := &command{App: app.New(app.Stdio{Out: io.Discard, Err: io.Discard}), connectWait: wait}
	c.Log = slog.New(slog.DiscardHandler)
	root := &cobra.Command{}
	c.Conn.Add(root)
	if err := root.PersistentFlags().Set("server", address); err != nil {
		t.Fatal(err)
	}
	found, err := c.Conn.Find(connect.Search{Log: c.Log, NotLocal: true})
	if err != nil {
		t.Fatal(err)
	}
	c.target = found
	return c
}

func startNATS(t *testing.T, opts *natsserver.Options) *natsserver.Server {
	t.Helper()
	opts.NoLog, opts.NoSigs = true, true
	s, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// A server that comes later is waited for.
func TestServerThatComesLater(t *testing.T) {
	host, port := "127.0.0.1", rig.FreePort(t)
	address := (&net.TCPAddr{IP: net.ParseIP(host), Port: port}).String()
	c := waiting(t, "nats://"+address, time.Minute)
	connected := make(chan error, 1)
	go func() {
		nc, err := c.awaitServer(t.Context(), "web1")
		if err == nil {
			nc.Close()
		}
		connected <- err
	}()
	select {
	case err := <-connected:
		t.Fatalf("without a server: got %v, want it to wait", err)
	case <-time.After(500 * time.Millisecond):
	}
	startNATS(t, &natsserver.Options{Host: host, Port: port})
	select {
	case err := <-connected:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(50 * time.Second):
		t.Fatal("it never sees the server")
	}
}

func TestServerThatIsNotWaitedFor(t *testing.T) {
	c := waiting(t, "nats://127.0.0.1:1", 0)
	if _, err := c.awaitServer(t.Context(), "web1"); err == nil || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("got %v, want connection refused", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.connectWait = time.Minute
	if _, err := c.awaitServer(ctx, "web1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

// Whoever refuses credentials is there: that ends it at once.
func TestRefusedCredentialsAreNotTriedAgain(t *testing.T) {
	s := startNATS(t, &natsserver.Options{Host: "127.0.0.1", Port: -1, Username: "a", Password: "b"})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	c := waiting(t, s.ClientURL(), time.Minute)
	began := time.Now()
	if _, err := c.awaitServer(t.Context(), "web1"); err == nil || !strings.Contains(err.Error(), "not let in") {
		t.Errorf("got %v, want not let in", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
