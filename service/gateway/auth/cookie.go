package auth

import (
	"net/http"
	"strings"
	"time"
)

// SetCookie keeps a token in the caller's browser until its end. Scripts can't
// read it, and no other site's page has it sent with more than a link.
func (g *Guard) SetCookie(w http.ResponseWriter, r *http.Request, token string, until time.Time) {
	c := g.cookie(r, token)
	if !until.IsZero() {
		c.MaxAge = max(1, int(time.Until(until).Seconds()))
	}
	http.SetCookie(w, c)
}

// ClearCookie takes it back.
func (g *Guard) ClearCookie(w http.ResponseWriter, r *http.Request) {
	c := g.cookie(r, "")
	c.MaxAge = -1
	http.SetCookie(w, c)
}

func (g *Guard) cookie(r *http.Request, value string) *http.Cookie {
	return &http.Cookie{Name: g.CookieName(), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS(r)}
}

// overTLS says whether the browser speaks TLS, with this process or with a proxy
// before it. A client that says so without cause harms nobody but itself.
func overTLS(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https") ||
		strings.Contains(strings.ToLower(r.Header.Get("Forwarded")), "proto=https")
}

// SameSite refuses what the page of another site sends, whether or not a cookie
// came with it.
func (g *Guard) SameSite(r *http.Request) error { return g.crossOrigin.Check(r) }
