package auth

import (
	"fmt"
	"net/http"
	"slices"
)

// readOrigins reads the configured origins.
func (g *Guard) readOrigins() error {
	g.guests = http.NewCrossOriginProtection()
	for _, origin := range g.cfg.TrustedOrigins {
		if err := g.crossOrigin.AddTrustedOrigin(origin); err != nil {
			return fmt.Errorf("cannot trust origin %q: %w", origin, err)
		}
	}
	for _, origin := range slices.Concat(g.cfg.TrustedOrigins, g.cfg.CORSOrigins) {
		if origin == anyOrigin {
			continue
		}
		if err := g.guests.AddTrustedOrigin(origin); err != nil {
			return fmt.Errorf("cannot allow origin %q: %w", origin, err)
		}
	}
	return nil
}

const anyOrigin = "*"

func (g *Guard) allowsAnyOrigin() bool { return slices.Contains(g.cfg.CORSOrigins, anyOrigin) }

// AllowOrigin lets a page elsewhere read the answer. It never says
// Access-Control-Allow-Credentials: such a page needs a token, not the cookie.
func (g *Guard) AllowOrigin(h http.Header, r *http.Request) {
	if len(g.cfg.CORSOrigins) == 0 {
		return
	}
	origin := r.Header.Get("Origin")
	if g.allowsAnyOrigin() {
		origin = anyOrigin
	} else {
		h.Add("Vary", "Origin")
		if origin == "" || !slices.Contains(g.cfg.CORSOrigins, origin) {
			return
		}
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, Content-Range, Accept-Ranges")
}

// Preflight answers a browser that asks what a page may send. It says whether
// the request was one.
func (g *Guard) Preflight(w http.ResponseWriter, r *http.Request, allow string) bool {
	h := w.Header()
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" || h.Get("Access-Control-Allow-Origin") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", allow)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, Range, If-Range, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
