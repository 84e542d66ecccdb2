package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/subjects"
)

// ErrStopping: the runner takes no requests any more.
var ErrStopping = errors.New("this runner is stopping")

// Server answers a table of verbs. Make one with New.
type Server struct {
	cfg        Config
	log        *slog.Logger
	ctx        context.Context
	micro      micro.Service
	gate       *gate
	counts     sync.Map // endpoint name → *counts
	requests   *prometheus.CounterVec
	badReplies *prometheus.CounterVec

	mu       sync.Mutex
	stopping bool
	pending  sync.WaitGroup
}

// New makes a server that hears nothing yet. The contexts of its requests end
// with ctx.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if err := check(cfg.Rows); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, log: cfg.Logger, ctx: ctx, gate: newGate(cfg.Conn, cfg.Logger, cfg.Free)}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "runnel_requests_total", Help: "Requests answered, by verb and code (200: no error).",
		ConstLabels: prometheus.Labels{"runner": cfg.Runner},
	}, []string{"verb", "code"})
	s.badReplies = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "runnel_refused_reply_subjects_total", Help: "Requests not run because their reply subject is no inbox, by verb.",
		ConstLabels: prometheus.Labels{"runner": cfg.Runner},
	}, []string{"verb"})
	return s, errors.Join(cfg.Metrics.Register(s.requests), cfg.Metrics.Register(s.badReplies))
}

// Open registers the table. When it returns, the runner can be asked.
func (s *Server) Open() error {
	if err := s.openMicro(); err != nil {
		return err
	}
	for i := range s.cfg.Rows {
		row := &s.cfg.Rows[i]
		v := &verb{row: row, line: line{bound: row.Bound}}
		if row.Bound == (Bound{}) {
			v.line.bound = DefaultBound
		}
		for _, p := range row.Reach.places(s.cfg.Runner, s.cfg.Pools) {
			if err := s.add(v, p); err != nil {
				return err
			}
		}
	}
	if err := s.gate.open(); err != nil {
		return err
	}
	if err := s.cfg.Conn.Flush(); err != nil {
		return fmt.Errorf("cannot register the micro service: %w", err)
	}
	return nil
}

// openMicro registers the micro service, unless each row is heard only where
// micro has no part.
func (s *Server) openMicro() (err error) {
	if !slices.ContainsFunc(s.cfg.Rows, func(r Row) bool { return !r.LeavesAny || r.Reach != ReachAny }) {
		return nil
	}
	s.micro, err = micro.AddService(s.cfg.Conn, micro.Config{
		Name: s.cfg.Space.Service(), Version: s.cfg.Version,
		Description: fmt.Sprintf("Runnel runner %s, pools %s", s.cfg.Runner, strings.Join(s.cfg.Pools, ", ")),
		Metadata: map[string]string{
			"runner": s.cfg.Runner, "pools": strings.Join(s.cfg.Pools, ","), "instance": s.cfg.Instance,
			"docs": "docs/wire.md, docs/subjects.md",
		},
		StatsHandler: func(e *micro.Endpoint) any {
			if c, ok := s.counts.Load(e.Name); ok {
				return c.(*counts).stats()
			}
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("cannot register the micro service: %w", err)
	}
	return nil
}

// PlacesChanged says that the runner may have more or fewer free places. It
// never blocks.
func (s *Server) PlacesChanged() { s.gate.changed() }

// LeaveAny leaves the any scopes of rows with LeavesAny for good. What was on
// its way has been heard when it returns.
func (s *Server) LeaveAny() { s.gate.shut() }

// Stop refuses requests from now on.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
}

// Stopping says whether Stop was called.
func (s *Server) Stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// Close takes back what Open registered.
func (s *Server) Close() {
	s.gate.shut()
	if s.micro == nil {
		return
	}
	if err := s.micro.Stop(); err != nil && s.cfg.Conn.IsConnected() {
		s.log.Warn("cannot take back the micro service", "error", err)
	}
}

// Wait returns when every request has been handled.
func (s *Server) Wait() { s.pending.Wait() }

// begin accounts for a request, unless the server is stopping.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.pending.Add(1)
	return true
}

// verb is a row at work.
type verb struct {
	row  *Row
	line line
}

func endpointName(row *Row, place string) string { return string(row.Verb) + "-" + place }

// add registers a row in one scope: with micro, or with the gate where the
// runner leaves it at times.
func (s *Server) add(v *verb, p place) error {
	row, c, subject := v.row, &counts{}, s.cfg.Space.Request(v.row.Verb, p.scope)
	handle := s.handler(v, p.scope, c)
	if row.LeavesAny && p.scope.IsAny() {
		if at, ok := s.counts.Load(endpointName(row, "at")); ok {
			at.(*counts).with(subject, c)
		}
		s.gate.add(subject, handle)
		return nil
	}
	opts := []micro.EndpointOpt{micro.WithEndpointSubject(subject), micro.WithEndpointMetadata(s.metadata(row))}
	if p.scope.IsAny() {
		opts = append(opts, micro.WithEndpointQueueGroup(subjects.Queue))
	} else {
		opts = append(opts, micro.WithEndpointQueueGroupDisabled())
	}
	name := endpointName(row, p.name)
	s.counts.Store(name, c)
	err := s.micro.AddEndpoint(name, micro.HandlerFunc(func(m micro.Request) {
		handle(&Request{subject: m.Subject(), reply: m.Reply(), header: map[string][]string(m.Headers()), body: m.Data()})
	}), opts...)
	if err != nil {
		return fmt.Errorf("cannot register endpoint %s: %w", name, err)
	}
	return nil
}

// metadata makes "nats service info" enough to call an endpoint.
func (s *Server) metadata(row *Row) map[string]string {
	m := map[string]string{"about": row.About, "request": row.Ask, "reply": row.Reply}
	if row.LeavesAny {
		any := []string{s.cfg.Space.Request(row.Verb, subjects.Any)}
		for _, pool := range s.cfg.Pools {
			any = append(any, s.cfg.Space.Request(row.Verb, subjects.PoolAny(pool)))
		}
		m["any"] = strings.Join(any, " ")
		m["any-queue"] = subjects.Queue
	}
	return m
}

// handler takes requests in the order of arrival: micro calls handlers one after
// the other, so it must not wait.
func (s *Server) handler(v *verb, scope subjects.Scope, c *counts) func(*Request) {
	return func(r *Request) {
		r.Scope, r.server, r.row, r.counts, r.came = scope, s, v.row, c, time.Now()
		c.heard()
		if !subjects.IsInbox(r.reply, s.cfg.ReplyPrefixes()) && r.reply != "" {
			r.refuseReply()
			return
		}
		if !s.begin() {
			r.Answer(nil, Coded(CodeFull, ErrStopping))
			return
		}
		handle := r.arrive()
		work := func() {
			defer s.pending.Done()
			r.serve(handle)
		}
		switch {
		case handle == nil:
			s.pending.Done()
		case r.release != nil:
			go work()
		case !v.line.do(len(r.body), work):
			s.pending.Done()
			r.Answer(nil, s.busy(v))
		}
	}
}

// busy is what a request is told that finds no room.
func (s *Server) busy(v *verb) error {
	if v.row.Busy != nil {
		return v.row.Busy
	}
	return Coded(CodeBusy, fmt.Errorf("cannot answer %s now: runner %s is at work on %d such requests and %d more wait; ask again in a second, or ask another runner",
		v.row.Verb, s.cfg.Runner, v.line.bound.AtOnce, v.line.bound.Queue))
}
