// Package rig is what tests stand on: a real NATS server or three, connections,
// processes and a way to wait for what somebody else does. Everything is gone
// after the test.
//
// It imports nothing of ours but embedded, so every package's tests may use it.
// Runners and clients are in package fleet beside it, for tests outside of the
// packages that those are made of.
package rig

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/embedded"
)

// Patience is how long Eventually waits: tenfold what a busy machine needs.
const Patience = time.Minute

// Eventually waits for a condition that somebody else brings about.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	EventuallyIn(t, Patience, what, is)
}

// EventuallyIn is Eventually for what may take longer.
func EventuallyIn(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	if !HappensIn(limit, is) {
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// HappensIn is EventuallyIn for a test that goes on all the same.
func HappensIn(limit time.Duration, is func() bool) bool {
	for deadline := time.Now().Add(limit); !is(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond) // polls a condition; nothing depends on its length
	}
	return true
}

// Within is a context that ends with the test, or after so long.
func Within(t testing.TB, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// Memory starts a server inside the process, with its streams in memory and
// without a listener: the quickest one.
func Memory(t testing.TB) *embedded.Server {
	t.Helper()
	return Embedded(t, embedded.Config{Memory: true, InProcessOnly: true})
}

// Embedded starts the embedded server. Without a data directory it gets one.
func Embedded(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.DataDir == "" && !cfg.Memory {
		cfg.DataDir = t.TempDir()
	}
	if cfg.Port > 0 {
		untilFree(t, net.JoinHostPort(cmp.Or(cfg.Host, "127.0.0.1"), fmt.Sprint(cfg.Port)))
	}
	server, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Connect connects to an embedded server.
func Connect(t testing.TB, server *embedded.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := server.Connect(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Dial connects to a server, and again for as long as the test lasts. Nothing
// is buffered while it is away.
func Dial(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{
		nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.IgnoreDiscoveredServers(),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// JetStream is that of a connection.
func JetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Logger logs to the test.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(Writer(t), nil))
}

// Writer writes to the test's log, for the standard error of a process.
func Writer(t testing.TB) io.Writer { return testWriter{t} }

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}
