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

// startWeb listens on the addresses of --http, before there is a runner: health
// says what a start waits for.
func (s *command) startWeb() error {
	if len(s.http) == 0 {
		return nil
	}
	w := &webServer{}
	s.web = w
	var err error
	var handler http.Handler = &s.front
	if s.dropIn != nil && s.dropIn.Profiling {
		handler = web.Profiling(handler)
	}
	if w.server, err = web.Listen(s.http, handler, s.Log); err != nil {
		return err
	}
	s.Say("page, health and metrics on %s", strings.Join(w.server.URLs(), " and "))
	return nil
}

// openWeb serves the runner's health and metrics, and the fleet.
func (s *command) openWeb(ctx context.Context) error {
	if s.web == nil {
		return nil
	}
	cfg, err := s.webFlags.Config(s.cfg.DataDir)
	if err != nil {
		return err
	}
	health := s.runners[0].Service.Handler()
	cfg.Prefix, cfg.Logger, cfg.Health, cfg.Metrics = s.Prefix, s.Log, health, health
	if s.web.nc, err = s.target.Connect(nats.Name("runnel gateway " + s.cfg.Name)); err != nil {
		return err
	}
	if cfg.JetStream, err = s.target.JetStream(s.web.nc); err != nil {
		return err
	}
	if s.web.gateway, err = gateway.New(ctx, s.web.nc, cfg); err != nil {
		// A runner's credentials need not allow more.
		s.Log.Warn("only health and metrics are served over HTTP", "error", err)
		s.front.takeOver(health)
		return nil
	}
	s.front.takeOver(s.web.gateway.Handler())
	web.Welcome(ctx, s.App, s.web.gateway, s.web.server.URLs())
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
