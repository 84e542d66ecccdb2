package service

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health is how a runner is doing, in one of the card's states.
type Health struct {
	Runner string `json:"runner"`
	State  string `json:"state"`
	Error  string `json:"error,omitempty"`
}

// Health tells the state of the runner now. It is left again when its cause is.
func (s *Service) Health() Health {
	h := Health{Runner: s.cfg.Name, State: StateReady}
	s.mu.Lock()
	initialized, unhealthy := s.initialized, s.unhealthy
	s.mu.Unlock()
	var trouble error
	if initialized {
		trouble = s.runner.Trouble()
	}
	switch {
	case !initialized:
		h.State = StateInitialising
	case s.runner.Load().Draining:
		h.State = StateDraining
	case !s.nc.IsConnected() || !s.pub.IsConnected():
		h.State, h.Error = StateUnhealthy, "not connected to NATS"
	case unhealthy != "":
		h.State, h.Error = StateUnhealthy, unhealthy
	case trouble != nil:
		h.State, h.Error = StateUnhealthy, oneLine(trouble)
	}
	return h
}

// judge takes note of whether the last write to NATS went well.
func (s *Service) judge(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.unhealthy
	s.unhealthy = ""
	if err != nil {
		s.unhealthy = oneLine(err)
	}
	switch {
	case was == "" && err != nil:
		s.log.Warn("runner is unhealthy", "runner", s.cfg.Name, "error", err)
	case was != "" && err == nil:
		s.log.Info("runner is healthy again", "runner", s.cfg.Name)
	}
}

// Handler serves /healthz (200 unless unhealthy), /readyz (200 while the runner
// takes runs) and /metrics. Whoever serves it decides where; loopback is meant.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(good func(Health) bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			h := s.Health()
			w.Header().Set("Content-Type", "application/json")
			if !good(h) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_ = json.NewEncoder(w).Encode(h) // a caller that has gone needs no answer
		}
	}
	mux.Handle("GET /healthz", answer(func(h Health) bool { return h.State != StateUnhealthy }))
	mux.Handle("GET /readyz", answer(func(h Health) bool { return h.State == StateReady }))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}
