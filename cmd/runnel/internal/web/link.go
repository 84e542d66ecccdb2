package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/service/gateway"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/peers"
	"github.com/runnel-io/runnel/service/gateway/signin"
	"github.com/runnel-io/runnel/subjects"
)

// Welcome tells the other gateways where this one listens, and whoever has started
// it how to sign in, if he sits at a terminal: a journal is a log, and a log is no
// place for a link that lets its reader in.
func Welcome(ctx context.Context, a *app.App, gw *gateway.Gateway, urls []string) {
	gw.Announce(urls)
	if !a.ErrLook.Terminal {
		return
	}
	path, err := gw.Link(ctx, app.UserName(), []auth.Scope{auth.ScopeAdmin})
	if err != nil {
		a.Log.Warn("no link to sign in with", "error", err)
		return
	}
	a.Say("sign in once, within ten minutes: %s", Reachable(urls[0])+path)
}

// Reachable is a URL as somebody on this host can open it: what listens on every
// address does on loopback.
func Reachable(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return text
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort("localhost", port)
	}
	return u.String()
}

// LinkRequest is a link that somebody asks for.
type LinkRequest struct {
	Secret string
	Sub    string
	Scopes []auth.Scope
	URL    string // where the link leads; the first living gateway's if empty
}

// NewLink makes a link that any gateway of the fleet takes.
func NewLink(ctx context.Context, js jetstream.JetStream, space subjects.Space, r LinkRequest) (string, error) {
	bucket, err := gateway.OpenBucket(ctx, js, space)
	if err != nil {
		return "", fmt.Errorf("cannot make a link: %w", err)
	}
	base := r.URL
	cards, err := peers.List(ctx, bucket)
	if err != nil {
		return "", fmt.Errorf("cannot find the gateways: %w", err)
	}
	for _, card := range cards {
		if !card.Knows(r.Secret) {
			return "", fmt.Errorf("cannot make a link: %s has another secret; give this command the same with --jwt-secret-file or --data", card)
		}
		if base == "" && len(card.URLs) > 0 {
			base = Reachable(card.URLs[0])
		}
	}
	if base == "" {
		return "", errors.New("cannot make a link: no gateway is online; start one with runnel gateway, or say where the link leads with --url")
	}
	path, err := signin.Link(ctx, &signin.Codes{Bucket: bucket, Secret: r.Secret}, r.Sub, r.Scopes)
	return strings.TrimRight(base, "/") + path, err
}
