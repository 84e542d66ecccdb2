package serve

import (
	"context"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/cmd/runnel/internal/web"
	"github.com/runnel-io/runnel/service/gateway"
)

// webServer is what --http serves: the runner's health and metrics, and the fleet.
type webServer struct {
	server  *web.Server
	gateway *gateway.Gateway
	nc      *nats.Conn
}

// startWeb listens on the addresses of --http.
func (s *command) startWeb(ctx context.Context) error {
	if len(s.http) == 0 {
		return nil
	}
	cfg, err := s.webFlags.Config(s.cfg.DataDir)
	if err != nil {
		return err
	}
	health := s.runners[0].Service.Handler()
	cfg.Prefix, cfg.Logger, cfg.Health, cfg.Metrics = s.Prefix, s.Log, health, health
	w := &webServer{}
	s.web = w
	if w.nc, err = s.target.Connect(nats.Name("runnel gateway " + s.cfg.Name)); err != nil {
		return err
	}
	if cfg.JetStream, err = s.target.JetStream(w.nc); err != nil {
		return err
	}
	var handler http.Handler = health
	if w.gateway, err = gateway.New(ctx, w.nc, cfg); err != nil {
		// A runner's credentials need not allow more.
		s.Log.Warn("only health and metrics are served over HTTP", "error", err)
	} else {
		handler = w.gateway.Handler()
	}
	if w.server, err = web.Listen(s.http, handler, s.Log); err != nil {
		return err
	}
	s.Say("health and metrics on %s", strings.Join(w.server.URLs(), " and "))
	return nil
}

// Close stops answering.
func (w *webServer) Close() (err error) {
	if w.gateway != nil {
		w.gateway.Stop()
	}
	if w.server != nil {
		err = w.server.Close()
	}
	if w.gateway != nil {
		w.gateway.Close()
	}
	if w.nc != nil {
		w.nc.Close()
	}
	return err
}
