package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Defaults of Config.
const (
	DefaultLease        = 6 * time.Second
	DefaultStartTimeout = 5 * time.Minute
)

// errFenced: another engine has taken over; whatever this one was about to do is
// not done.
var errFenced = errors.New("another engine has taken over")

// Config of an engine. The zero value is a good one.
type Config struct {
	// Prefix of all subjects. Default: "runner".
	Prefix string
	// Name that the lease and a pipeline's source show. Default: the host's.
	Name string
	// JetStream replaces jetstream.New(nc), for an API prefix or a domain.
	JetStream jetstream.JetStream
	// Replicas of the buckets that the engine makes; 0: one, or what there is.
	Replicas int
	// Lease is how long an engine that died is waited for. Default: 6 s.
	Lease time.Duration
	// StartTimeout is how long a task waits for a runner that matches. Default: 5 min.
	StartTimeout time.Duration
	// Env is the environment of all tasks below that of env files. Default: none.
	//
	// Env, Dir and Runner make an engine stand in for a program that ran tasks as
	// children of its own: give its environment, its working directory, and the name of a runner in
	// the same process. Jobs keep what they were accepted with, whichever engine goes on with
	// them. Files of environment go with the definitions: source.Files.EnvFiles.
	Env map[string]string
	// Dir is the working directory of tasks that name none. Default: the run's own.
	Dir string
	// Runner executes the tasks that have no on, and the handlers. Default: any.
	Runner string
	// ReplyPrefixes are those of callers' inboxes beside the usual ones.
	ReplyPrefixes []string
	// Logger gets one line a change. Default: none.
	Logger *slog.Logger
}

// Engine holds pipelines' jobs, or stands by to take over from the one that
// does. Any number may share a fleet. Make one with Start, end it with Close.
type Engine struct {
	cfg    Config
	space  subjects.Space
	nc     *nats.Conn
	client *client.Client
	defs   *kv.Bucket // definitions, heads, inputs and the lease
	jobs   *kv.Bucket
	store  *store.Store
	log    *slog.Logger

	cancel context.CancelCauseFunc
	done   chan struct{}

	mu   sync.Mutex
	term *term // while it holds the lease
}

// Start makes an engine that runs until Close. It returns when the engine can
// take over; whether it holds the lease then is Leads's answer. The connection
// should buffer nothing while it reconnects (nats.ReconnectBufSize(-1)).
func Start(ctx context.Context, nc *nats.Conn, cfg Config) (*Engine, error) {
	space, err := subjects.New(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.JetStream == nil {
		if cfg.JetStream, err = jetstream.New(nc); err != nil {
			return nil, fmt.Errorf("cannot start the pipeline engine: %w", err)
		}
	}
	e := &Engine{cfg: cfg, space: space, nc: nc, log: cfg.Logger, done: make(chan struct{})}
	if err := e.open(ctx); err != nil {
		return nil, fmt.Errorf("cannot start the pipeline engine: %w", err)
	}
	var life context.Context
	life, e.cancel = context.WithCancelCause(context.Background())
	go e.serve(life)
	return e, nil
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name, _ = os.Hostname()
	}
	if c.Lease <= 0 {
		c.Lease = DefaultLease
	}
	if c.StartTimeout <= 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (e *Engine) open(ctx context.Context) (err error) {
	js := e.cfg.JetStream
	if e.client, err = client.New(e.nc, client.Options{Prefix: e.cfg.Prefix, JetStream: js}); err != nil {
		return err
	}
	if e.store, err = store.Open(ctx, js, e.space, store.Config{Replicas: e.cfg.Replicas}); err != nil {
		return err
	}
	e.defs, e.jobs, err = records.OpenBuckets(ctx, js, e.space, kv.Config{Replicas: e.cfg.Replicas, Logger: e.log})
	return err
}

// Leads says whether this engine holds the lease now.
func (e *Engine) Leads() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.term != nil
}

// Close lets go of the lease, so that another engine goes on at once. Jobs and
// their tasks go on.
func (e *Engine) Close() {
	e.cancel(errors.New("the engine is closing"))
	<-e.done
}

// serve takes the lease whenever it is free, for as long as ctx lives.
func (e *Engine) serve(ctx context.Context) {
	defer close(e.done)
	for ctx.Err() == nil {
		l, err := e.takeLease(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Warn("cannot take the lease of the pipeline engine", "error", err)
				pause(ctx, e.cfg.Lease/2)
			}
			continue
		}
		e.lead(ctx, l)
	}
}

// lead is one term: it ends when the lease is lost or ctx ends.
func (e *Engine) lead(ctx context.Context, l *lease) {
	termCtx, end := context.WithCancelCause(ctx)
	defer end(nil)
	t := newTerm(e, termCtx, end, l)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		end(l.keep(termCtx))
	}()
	if err := t.open(); err != nil {
		end(err)
	} else {
		e.setTerm(t)
		e.log.Info("this engine runs the pipelines now", "engine", e.cfg.Name, "jobs", t.unfinished())
		<-termCtx.Done()
		e.setTerm(nil)
	}
	t.close()
	<-renewed
	if cause := context.Cause(termCtx); ctx.Err() == nil {
		e.log.Warn("this engine does not run the pipelines any more", "engine", e.cfg.Name, "cause", cause)
		pause(ctx, e.cfg.Lease/10)
	}
	l.release()
}

func (e *Engine) setTerm(t *term) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.term = t
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
