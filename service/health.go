package service

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runnel-io/runnel/service/presence"
)

// States of a runner, as its card has them.
const (
	StateInitialising = presence.StateInitialising
	StateReady        = presence.StateReady
	StateDraining     = presence.StateDraining
	StateUnhealthy    = presence.StateUnhealthy
)

// Health is how a runner is doing, in one of the card's states.
type Health = presence.Health

// Health tells the state of the runner now. It is left again when its cause is.
func (s *Service) Health() Health { return s.presence.Health() }

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
