package mcp

import (
	"net/http"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Handler answers over streamable HTTP, without sessions: each request has all that
// is needed for it. Config.May and Config.User are given the request's context.
// Whoever mounts it has let the caller in and has bounded the body.
func (s *Server) Handler() http.Handler {
	inner := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.sdk }, &sdk.StreamableHTTPOptions{
		Stateless: true,
		// It would refuse a proxy on this host. Callers have a token, or a cookie
		// that a page of another name does not get.
		DisableLocalhostProtection:   true,
		PropagateRequestCancellation: true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(living(r.Context())))
	})
}
