package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/subjects"
)

// Config of a Gateway. Secret is required.
type Config struct {
	// Prefix of the fleet's subjects. Default: "runner".
	Prefix string
	// JetStream replaces jetstream.New(nc), for an API prefix or a domain.
	JetStream jetstream.JetStream
	// Secret is what tokens are signed with; MinSecret bytes at least.
	Secret string
	// DefaultScope is that of tokens without one. Default: DefaultScope.
	DefaultScope []Scope
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
	// Logger gets one line a change. Default: none.
	Logger *slog.Logger
}

// Gateway answers HTTP requests about a fleet. Make one with New, end it with Close.
type Gateway struct {
	cfg         Config
	space       subjects.Space
	nc          *nats.Conn
	js          jetstream.JetStream
	client      *client.Client
	mirror      *pipeline.Mirror
	log         *slog.Logger
	crossOrigin *http.CrossOriginProtection
	guests      *http.CrossOriginProtection // pages that may call without a token
	handler     http.Handler
	encoded     encodedJobs
	stopping    atomic.Bool
	life        context.Context // ends when the gateway stops; streams of events end by it
	die         context.CancelFunc
}

// New makes a gateway over a connection. Nothing is listened on: see Handler.
func New(ctx context.Context, nc *nats.Conn, cfg Config) (*Gateway, error) {
	if len(cfg.Secret) < MinSecret {
		return nil, fmt.Errorf("cannot start the gateway: its secret has %d bytes and must have at least %d", len(cfg.Secret), MinSecret)
	}
	if cfg.DefaultScope == nil {
		cfg.DefaultScope = DefaultScope
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, nc: nc, js: cfg.JetStream, log: cfg.Logger, crossOrigin: http.NewCrossOriginProtection()}
	if err := g.readOrigins(); err != nil {
		return nil, err
	}
	var err error
	if g.space, err = subjects.New(cfg.Prefix); err != nil {
		return nil, err
	}
	if g.js == nil {
		if g.js, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("cannot start the gateway: %w", err)
		}
	}
	if g.client, err = client.New(nc, client.Options{Prefix: cfg.Prefix, JetStream: g.js}); err != nil {
		return nil, err
	}
	if g.mirror, err = pipeline.NewMirror(ctx, g.js, cfg.Prefix, g.log); err != nil {
		return nil, fmt.Errorf("cannot start the gateway: %w", err)
	}
	g.life, g.die = context.WithCancel(context.WithoutCancel(ctx))
	g.handler = g.routes()
	return g, nil
}

// Handler answers requests.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Stop has the gateway refuse new jobs, say that it is not ready, and end its
// streams of events, whose clients go on at another gateway.
func (g *Gateway) Stop() {
	g.stopping.Store(true)
	g.die()
}

// Close ends what the gateway follows. The connection stays open.
func (g *Gateway) Close() {
	g.Stop()
	g.mirror.Close()
}

// route is one row of the table.
type route struct {
	method, path string
	scope        Scope
	handle       http.HandlerFunc
}

// table is every route. Piston's are there twice, as that program is often served
// below a path.
func (g *Gateway) table() []route {
	var piston []route
	for _, base := range []string{"/api/v2", "/api/v2/piston"} {
		piston = append(piston,
			route{"GET", base + "/runtimes", ScopeCode, g.pistonRuntimes},
			route{"POST", base + "/execute", ScopeCode, g.pistonExecute},
			route{"GET", base + "/packages", ScopeCode, g.pistonPackages},
			route{"POST", base + "/packages", ScopeCode, g.pistonNoPackages},
			route{"DELETE", base + "/packages", ScopeCode, g.pistonNoPackages},
			route{"GET", base + "/connect", ScopeCode, g.pistonConnect},
		)
	}
	return append(piston, []route{
		{"GET", "/pipelines", ScopeRead, g.listPipelines},
		{"GET", "/pipelines/{$}", ScopeRead, g.listPipelines},
		{"GET", "/pipelines/jobs", ScopeRead, g.listJobs},
		{"POST", "/pipelines/schedule", ScopeJobs, g.scheduleJob},
		{"GET", "/job/detail", ScopeRead, g.jobDetail},
		{"GET", "/job/logs", ScopeRead, g.jobLogs},
		{"GET", "/job/logs/stream", ScopeRead, g.jobLogEvents},
		{"GET", "/api/v1/runs/{id}", ScopeRead, g.showRun},
		{"GET", "/api/v1/runs/{id}/log", ScopeRead, g.runLog},
		{"POST", "/api/v1/runs/{id}/abort", ScopeRun, g.abortRun},
		{"GET", "/api/v1/runs/{id}/events", ScopeRead, g.runEvents},
		{"POST", "/job/cancel", ScopeJobs, g.cancelJob},
		{"GET", "/api/v1/languages", ScopeCode, g.canvasLanguages},
		{"POST", "/api/v1/run", ScopeCode, g.canvasRun},
		{"GET", "/healthz", public, g.healthz},
		{"GET", "/readyz", public, g.readyz},
		{"GET", "/metrics", ScopeRead, g.metrics},
	}...)
}

// routes makes the handler of the table. A path that is there with another
// method is a 405 that says which; everything has the security headers.
func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, row := range g.table() {
		methods[row.path] = append(methods[row.path], row.method)
		if row.method == http.MethodGet {
			methods[row.path] = append(methods[row.path], http.MethodHead)
		}
		mux.Handle(row.method+" "+row.path, g.guard(row.scope, row.handle))
	}
	for path, allowed := range methods {
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			if g.preflight(w, r, allow) {
				return
			}
			errorWriter(r)(w, http.StatusMethodNotAllowed, "method not allowed: use "+allow)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		errorWriter(r)(w, http.StatusNotFound, "there is nothing at "+r.URL.Path)
	})
	return withDeadlines(g.recovered(g.withHeaders(mux)))
}

func (g *Gateway) withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		g.allowOrigin(h, r)
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
				g.log.Error("a request made its handler panic", "path", r.URL.Path, "panic", p)
				writeError(w, http.StatusInternalServerError, "internal error: the gateway's log says more")
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
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	if err := g.ready(); err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	if g.cfg.Health != nil {
		g.cfg.Health.ServeHTTP(w, r)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (g *Gateway) ready() error {
	switch {
	case g.stopping.Load():
		return errors.New("the gateway is shutting down")
	case !g.nc.IsConnected():
		return errors.New("not connected to NATS")
	}
	select {
	case <-g.mirror.Ready():
		return nil
	default:
		return errors.New("the pipelines are still being read")
	}
}

func (g *Gateway) metrics(w http.ResponseWriter, r *http.Request) {
	if g.cfg.Metrics == nil {
		promhttp.Handler().ServeHTTP(w, r)
		return
	}
	g.cfg.Metrics.ServeHTTP(w, r)
}
