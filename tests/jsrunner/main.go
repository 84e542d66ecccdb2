// Command jsrunner is the fleet that the tests in tests/js ask: a NATS server
// on a free port and two runners, web1 and db1. It prints one line of JSON that
// says where, and ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "jsrunner:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	dir, err := os.MkdirTemp("", "jsrunner-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := embedded.Start(embedded.Config{DataDir: filepath.Join(dir, "server"), Port: embedded.AnyPort})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()

	for _, cfg := range []service.Config{
		{Name: "web1", Pools: []string{"web"}, Settings: service.Settings{Labels: map[string]string{"env": "prod"}}},
		{Name: "db1", Pools: []string{"db"}, Settings: service.Settings{Labels: map[string]string{"env": "test"}}},
	} {
		stop, err := start(server, cfg, dir)
		if err != nil {
			return err
		}
		defer stop()
	}
	web, stop, err := serve(server)
	if err != nil {
		return err
	}
	defer stop()
	where := map[string]string{"url": server.URL(), "seed": server.SeedFile(), "http": web.URL, "token": web.token}
	if err := json.NewEncoder(os.Stdout).Encode(where); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// web is a gateway, and a token for all that it serves.
type web struct {
	*httptest.Server
	token string
}

func serve(server *embedded.Server) (w web, stop func(), err error) {
	const secret = "a secret of the tests in js"
	nc, err := server.Connect(nats.Name("gateway"))
	if err != nil {
		return w, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	g, err := gateway.New(ctx, nc, gateway.Config{Secret: secret, Version: "1.2.3"})
	if err == nil {
		w.token, err = auth.Token(secret, "js", []auth.Scope{auth.ScopeAdmin}, time.Hour)
	}
	if err != nil {
		nc.Close()
		return w, nil, err
	}
	w.Server = httptest.NewServer(g.Handler())
	return w, func() { g.Stop(); w.Close(); g.Close(); nc.Close() }, nil
}

func start(server *embedded.Server, cfg service.Config, dir string) (stop func(), err error) {
	nc, err := server.Connect(nats.Name(cfg.Name))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cfg.DataDir = filepath.Join(dir, cfg.Name)
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := service.Start(ctx, nc, cfg)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return func() { s.Close(); nc.Close() }, nil
}
