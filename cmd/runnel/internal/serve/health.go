package serve

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
)

// healthServer answers /healthz, /readyz and /metrics.
type healthServer struct {
	server *http.Server
	done   chan struct{}
}

func (s *command) startHealth() error {
	if s.http == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.http)
	if err != nil {
		return fmt.Errorf("cannot listen for --http on %s: %w", s.http, connect.Cause(err))
	}
	h := &healthServer{
		server: &http.Server{Handler: s.runners[0].Service.Handler(), ReadHeaderTimeout: 5 * time.Second},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(h.done)
		if err := h.server.Serve(listener); err != http.ErrServerClosed {
			s.Log.Error("cannot go on serving health", "error", err)
		}
	}()
	s.health = h
	s.Say("health and metrics on http://%s", listener.Addr())
	return nil
}

// Close stops answering.
func (h *healthServer) Close() error {
	err := h.server.Close()
	<-h.done
	return err
}
