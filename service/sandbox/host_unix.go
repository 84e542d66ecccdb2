//go:build unix

package sandbox

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// Host is this machine as a place to run things on.
type Host struct {
	prefix string
	log    *slog.Logger
	null   *os.File // shared standard input of those that have none

	mu      sync.Mutex
	live    map[string]*Process      // by run id
	leaving map[string]chan struct{} // runs that are over, but not all that was made for them is removed; closed when it is

	signallers chan struct{} // places of those who signal runs

	hostOS
}

// Open looks at what this machine can do. It changes nothing but a probe directory in the cgroup tree, which it removes.
func Open(cfg Config) (*Host, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if strings.ContainsAny(cfg.Prefix, "/\x00\n") || strings.HasPrefix(cfg.Prefix, ".") {
		return nil, fmt.Errorf("cannot open sandbox: bad prefix %q", cfg.Prefix)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("cannot open sandbox: %w", err)
	}
	h := &Host{prefix: cfg.Prefix, log: cfg.Logger, null: null, live: map[string]*Process{}, leaving: map[string]chan struct{}{},
		signallers: make(chan struct{}, maxSignallers)}
	if err := h.openOS(cfg); err != nil {
		null.Close()
		return nil, fmt.Errorf("cannot open sandbox: %w", err)
	}
	return h, nil
}

// Close gives back what Open took. Every process must have been pumped to its end.
func (h *Host) Close() error {
	h.closeOS()
	return h.null.Close()
}

// claim makes id this process's own among those that run.
func (h *Host) claim(id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.leaving[id] != nil {
		gone := h.leaving[id]
		h.mu.Unlock()
		<-gone
		h.mu.Lock()
	}
	if _, taken := h.live[id]; taken {
		return fmt.Errorf("a run with id %s is running", id)
	}
	h.live[id] = nil
	return nil
}

func (h *Host) enter(p *Process) {
	h.mu.Lock()
	h.live[p.id] = p
	h.mu.Unlock()
}

func (h *Host) leave(id string) {
	h.mu.Lock()
	delete(h.live, id)
	h.mu.Unlock()
}

func (h *Host) isLive(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.live[id]
	return ok
}
