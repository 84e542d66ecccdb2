package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/service"
)

// front answers over HTTP while the runner starts; then another handler does.
type front struct {
	name string // the runner's

	mu      sync.Mutex
	waiting error        // what the start waits for
	handler http.Handler // nil while it starts
}

// waiting is told what a start waits for.
func (s *command) waiting(err error) {
	notify("EXTEND_TIMEOUT_USEC=30000000\nSTATUS=" + inOneLine(err))
	s.front.mu.Lock()
	defer s.front.mu.Unlock()
	s.front.waiting = err
}

// takeOver has another handler answer.
func (f *front) takeOver(handler http.Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handler = handler
}

// ServeHTTP says that the runner is initialising, and why that takes long.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	handler, waiting := f.handler, f.waiting
	f.mu.Unlock()
	if handler != nil {
		handler.ServeHTTP(w, r)
		return
	}
	state := service.Health{Runner: f.name, State: service.StateInitialising}
	if waiting != nil {
		state.Error = inOneLine(waiting)
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/healthz":
	case "/readyz":
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		http.Error(w, "the runner is starting", http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(state) // a caller that has gone needs no answer
}

func inOneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
