package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/gateway/api"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/code"
	"github.com/runnel-io/runnel/service/gateway/events"
	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/gateway/openapi"
	"github.com/runnel-io/runnel/service/gateway/page"
	"github.com/runnel-io/runnel/service/gateway/peers"
	"github.com/runnel-io/runnel/service/gateway/prunner"
	"github.com/runnel-io/runnel/service/gateway/reply"
	"github.com/runnel-io/runnel/service/gateway/room"
	"github.com/runnel-io/runnel/service/gateway/runlog"
	"github.com/runnel-io/runnel/service/gateway/search"
	"github.com/runnel-io/runnel/service/gateway/signin"
	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/records"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/subjects"
)

// Config of a Gateway. Secret is required.
type Config struct {
	// Prefix of the fleet's subjects. Default: "runner".
	Prefix string
	// JetStream replaces jetstream.New(nc), for an API prefix or a domain.
	JetStream jetstream.JetStream
	// Secret is what tokens are signed with; auth.MinSecret bytes at least.
	Secret string
	// DefaultScope is that of tokens without one. Default: auth.DefaultScope.
	DefaultScope []auth.Scope
	// TrustedOrigins are pages elsewhere that may use the cookie.
	TrustedOrigins []string
	// CORSOrigins are pages elsewhere that may call with a token.
	CORSOrigins []string
	// AnonymousCode lets anybody run code who can reach the gateway.
	AnonymousCode bool
	// Health, if set, answers /healthz and /readyz in the gateway's place.
	Health http.Handler
	// Metrics, if set, answers /metrics, which needs scope read.
	Metrics http.Handler
	// Version that /api/v1/me shows. Default: none.
	Version string
	// Logger gets one line a change. Default: none.
	Logger *slog.Logger
}

// Gateway answers HTTP requests about a fleet. Make one with New, end it with Close.
type Gateway struct {
	cfg      Config
	nc       *nats.Conn
	host     string // where it runs, for who wants to know who claims what
	house    room.House
	codes    *signin.Codes // nil where there can be none
	peers    *peers.Peers  // likewise
	handler  http.Handler
	doc      []byte // describes the routes
	stopping atomic.Bool
	die      context.CancelFunc
}

// New makes a gateway over a connection. Nothing is listened on: see Handler.
func New(ctx context.Context, nc *nats.Conn, cfg Config) (*Gateway, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, nc: nc}
	g.host, _ = os.Hostname()
	h := &g.house
	h.JS, h.Log, h.Stopping, h.Version = cfg.JetStream, cfg.Logger, &g.stopping, cfg.Version
	var err error
	if h.Space, err = subjects.New(cfg.Prefix); err != nil {
		return nil, err
	}
	h.Guard, err = auth.NewGuard(auth.Config{
		Fleet: h.Space.Service(), Secret: cfg.Secret, DefaultScope: cfg.DefaultScope, TrustedOrigins: cfg.TrustedOrigins,
		CORSOrigins: cfg.CORSOrigins, AnonymousCode: cfg.AnonymousCode,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot start the gateway: %w", err)
	}
	if h.JS == nil {
		if h.JS, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("cannot start the gateway: %w", err)
		}
	}
	if h.Client, err = client.New(nc, client.Options{Prefix: cfg.Prefix, JetStream: h.JS}); err != nil {
		return nil, err
	}
	if h.Mirror, err = records.NewMirror(ctx, h.JS, cfg.Prefix, h.Log); err != nil {
		return nil, fmt.Errorf("cannot start the gateway: %w", err)
	}
	g.join(ctx)
	h.Feeds = feed.OpenAll(h.JS, h.Space, h.Log)
	h.Tails = tails.New(h.Client)
	h.Doc = openapi.New()
	h.Life, g.die = context.WithCancel(context.WithoutCancel(ctx))
	g.handler = g.routes()
	return g, nil
}

// join meets the other gateways. Without the permission to, this one serves
// without sign-in links, and does not know whether all have one secret.
func (g *Gateway) join(ctx context.Context) {
	bucket, err := OpenBucket(ctx, g.house.JS, g.house.Space)
	if err != nil {
		g.house.Log.Warn("no sign-in links here, and no look at other gateways", "error", err)
		return
	}
	g.codes = &signin.Codes{Bucket: bucket, Secret: g.cfg.Secret}
	g.peers = peers.Join(bucket, g.cfg.Secret, g.house.Log)
}

// OpenBucket opens what the gateways of a fleet share, and makes it if it is
// missing.
func OpenBucket(ctx context.Context, js jetstream.JetStream, space subjects.Space) (*kv.Bucket, error) {
	return kv.Open(ctx, js, kv.Config{
		Name: space.GatewayBucket(), Description: "Runnel: gateways' cards, one-time codes", MarkerTTL: time.Second,
	})
}

// Announce tells the other gateways, and those who make links, where this one
// listens.
func (g *Gateway) Announce(urls []string) {
	if g.peers != nil {
		g.peers.Announce(urls)
	}
}

// Link makes a one-time link's path, which signs somebody in.
func (g *Gateway) Link(ctx context.Context, sub string, scopes []auth.Scope) (string, error) {
	if g.codes == nil {
		return "", errors.New("cannot make a link: the fleet's bucket for codes may not be used")
	}
	return signin.Link(ctx, g.codes, sub, scopes)
}

// Handler answers requests.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Refuse has the gateway refuse new jobs, and say that it is not ready.
func (g *Gateway) Refuse() { g.stopping.Store(true) }

// Unfinished are the jobs that have not ended.
func (g *Gateway) Unfinished(ctx context.Context) ([]*pb.Job, error) {
	if err := g.house.Synced(ctx); err != nil {
		return nil, err
	}
	found, err := g.house.Mirror.Jobs(ctx, 0)
	var jobs []*pb.Job
	for _, j := range found {
		if !j.Job.GetCompleted() {
			jobs = append(jobs, j.Job)
		}
	}
	return jobs, err
}

// Stop has the gateway refuse new jobs, say that it is not ready, and end its
// streams of events, whose clients go on at another gateway.
func (g *Gateway) Stop() {
	g.Refuse()
	g.die()
}

// Close ends what the gateway follows. The connection stays open.
func (g *Gateway) Close() {
	g.Stop()
	g.house.Mirror.Close()
	if g.peers != nil {
		g.peers.Close()
	}
	g.house.Feeds.Close()
	g.house.Tails.Close()
}

// rooms are the parts of the gateway that have routes.
var rooms = []room.Room{prunner.Routes, api.Routes, events.Routes, runlog.Routes, search.Routes, code.Routes, agents}

// table is every route.
func (g *Gateway) table() []room.Route {
	table := []room.Route{
		{Method: "GET", Path: "/healthz", Scope: auth.Public, Handle: g.healthz},
		{Method: "GET", Path: "/readyz", Scope: auth.Public, Handle: g.readyz},
		{Method: "GET", Path: "/metrics", Scope: auth.ScopeRead, Handle: g.metrics},
		{Method: "GET", Path: "/openapi.json", Scope: auth.SignedIn, Handle: g.describe},
	}
	for _, routes := range slices.Concat(rooms, []room.Room{signin.Room(g.codes)}) {
		table = append(table, routes(&g.house)...)
	}
	return table
}

// routes makes the handler of the table. A path that is there with another
// method is a 405 that says which; everything has the security headers.
func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	table := g.table()
	for _, row := range table {
		for _, path := range spellings(row.Path) {
			methods[path] = append(methods[path], row.Method)
			if row.Method == http.MethodGet {
				methods[path] = append(methods[path], http.MethodHead)
			}
			mux.Handle(row.Method+" "+path, g.house.Guard.Wrap(row.Scope, g.claiming(row.Handle)))
		}
	}
	var err error
	if g.doc, err = openapi.Write(g.house.Doc, table); err != nil {
		g.house.Log.Error("the description of the routes is missing", "error", err)
	}
	for path, allowed := range methods {
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			if g.house.Guard.Preflight(w, r, allow) {
				return
			}
			reply.Refusal(r)(w, http.StatusMethodNotAllowed, "method not allowed: use "+allow)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !page.Serve(w, r) {
			reply.Refusal(r)(w, http.StatusNotFound, "there is nothing at "+r.URL.Path)
		}
	})
	return reply.WithDeadlines(g.recovered(g.withHeaders(mux)))
}

// spellings are the patterns of a path: some of Piston's clients end theirs with a
// slash.
func spellings(path string) []string {
	if strings.HasPrefix(path, "/api/v2/") {
		return []string{path, path + "/{$}"}
	}
	return []string{path}
}

// claiming has what a request asks of the fleet say for whom: as this gateway
// claims, since runners can't tell.
func (g *Gateway) claiming(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := auth.CallerOf(r.Context()).Sub
		if who == "" {
			who = "somebody"
		}
		next.ServeHTTP(w, r.WithContext(client.AsUser(r.Context(), who+" via gateway "+g.host)))
	})
}

func (g *Gateway) withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		g.house.Guard.AllowOrigin(h, r)
		next.ServeHTTP(w, r)
	})
}

// recovered: a request can't stop the process.
func (g *Gateway) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // the server ends the connection: the client sees that the answer is not whole
			}
			if p != nil {
				g.house.Log.Error("a request made its handler panic", "path", r.URL.Path, "panic", p)
				reply.Error(w, http.StatusInternalServerError, "internal error: the gateway's log says more")
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (g *Gateway) healthz(w http.ResponseWriter, r *http.Request) {
	if g.cfg.Health != nil {
		g.cfg.Health.ServeHTTP(w, r)
		return
	}
	reply.JSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	if err := g.ready(); err != nil {
		reply.Error(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	if g.cfg.Health != nil {
		g.cfg.Health.ServeHTTP(w, r)
		return
	}
	reply.JSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (g *Gateway) ready() error {
	switch {
	case g.stopping.Load():
		return errors.New("the gateway is shutting down")
	case !g.nc.IsConnected():
		return errors.New("not connected to NATS")
	}
	select {
	case <-g.house.Mirror.Ready():
	default:
		return errors.New("the pipelines are still being read")
	}
	if g.peers != nil {
		return g.peers.Err()
	}
	return nil
}

func (g *Gateway) describe(w http.ResponseWriter, _ *http.Request) {
	if g.doc == nil {
		reply.Error(w, http.StatusInternalServerError, "not every route is described: the gateway's log says more")
		return
	}
	reply.Body(w, http.StatusOK, g.doc)
}

func (g *Gateway) metrics(w http.ResponseWriter, r *http.Request) {
	if g.cfg.Metrics == nil {
		promhttp.Handler().ServeHTTP(w, r)
		return
	}
	g.cfg.Metrics.ServeHTTP(w, r)
}
