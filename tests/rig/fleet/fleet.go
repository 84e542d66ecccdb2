// Package fleet starts runners and clients for tests.
package fleet

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/tests/rig"
)

// Fleet is a server with runners.
type Fleet struct {
	*embedded.Server
	t testing.TB
}

// New starts a server, and a runner for each configuration.
func New(t testing.TB, configs ...service.Config) *Fleet {
	t.Helper()
	f := &Fleet{rig.Embedded(t, embedded.Config{InProcessOnly: true}), t}
	for _, cfg := range configs {
		f.Runner(cfg)
	}
	return f
}

// Runner starts a further one.
func (f *Fleet) Runner(cfg service.Config) *service.Service {
	f.t.Helper()
	return Runner(f.t, f.Conn(), cfg)
}

// Conn is a new connection.
func (f *Fleet) Conn(options ...nats.Option) *nats.Conn {
	f.t.Helper()
	return rig.Connect(f.t, f.Server, options...)
}

// Client is a new one, on a connection of its own.
func (f *Fleet) Client() *client.Client {
	f.t.Helper()
	return Client(f.t, f.Conn())
}

// Runner starts a runner on a connection. Without a data directory it gets one,
// without a logger it is silent; it looks at the host on demand only.
func Runner(t testing.TB, nc *nats.Conn, cfg service.Config) *service.Service {
	t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.OnDemand = true
	s, err := service.Start(rig.Within(t, 30*time.Second), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Client is one with the defaults.
func Client(t testing.TB, nc *nats.Conn) *client.Client {
	t.Helper()
	c, err := client.New(nc, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
