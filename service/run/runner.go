// Package run takes a task through its life: admit, prepare, execute, finish.
//
// # The model
//
// A Runner has places: slots, in which runs are, and a line in which they wait.
// A request takes a ticket first (Admit), in order of arrival and without
// touching the network; then one goroutine takes it through everything else
// (Go): the claim in KV, while which the process is prepared, the reply, the wait
// for a slot, the process and its output, the end of its log and, last, the final
// record. That goroutine owns
// the run; what others may do to it (stop it, look at its record) goes through
// the run's mutex.
//
// # At most once
//
// The claim is the creation of the run's record. Whoever finds it there already
// answers with it, or with a conflict if it is of another request. Every later
// write is a compare-and-set on the revision before, so that a runner that was
// declared dead notices that its record moved: it kills the run and writes no
// more.
//
// # The end
//
// The first cause to be named wins: the process ended, a timeout, an abort, too
// much output. The record becomes final after the log's EOF is stored, so final
// means that the log is complete. While NATS is gone the end waits; the process
// does not.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Defaults of Config.
const (
	DefaultSlots   = 64
	DefaultBacklog = 256
)

// Errors that a request can get; the service maps them to codes.
var (
	ErrFull     = errors.New("No resources available. Please try later.") //lint:ignore ST1005 the contract's words (scoot)
	ErrLogKept  = errors.New("the log of an earlier run with this id is still kept; use another id, or remove that log")
	ErrDraining = errors.New("draining: this runner takes no new runs")
	ErrConflict = errors.New("another request has this run id already")
	ErrNotHere  = errors.New("the run is not on this runner")
	ErrUnable   = errors.New("this runner can't do that")

	errStopped = errors.New("the runner stopped")
)

// Config of a Runner. Name, Space, JS, Store, Host and Languages are required.
type Config struct {
	// Name and Instance are the runner's own.
	Name, Instance string
	Space          subjects.Space
	// JS publishes the logs; its connection must not buffer while it
	// reconnects (nats.ReconnectBufSize(-1)).
	JS    jetstream.JetStream
	Store *store.Store
	Host  *sandbox.Host
	// Languages that tasks may be written in.
	Languages *lang.Table
	// DataDir is where spools go.
	DataDir string
	// Slots and Backlog: 0 means the default; a Backlog below 0 means none.
	Slots, Backlog int
	// SpoolMaxBytes bounds the spool of one run. 0: what package logs has.
	SpoolMaxBytes int64
	// Environ is the runner's own environment, less its secrets.
	Environ []string
	// OnPlaces is told, from any goroutine, that the number of free places changed.
	OnPlaces func()
	// OnEnd is told of every run that ended here.
	OnEnd  func(*pb.Run)
	Logger *slog.Logger
}

// Runner has the runs of one host. Make one with New, end it with Close.
type Runner struct {
	cfg   Config
	log   *slog.Logger
	start chan struct{} // the gate: how many are being started at once
	probe sync.Once     // of what the host can do

	// ctx ends when the runner must stop at once; what NATS has not taken by
	// then is left to the next life.
	ctx   context.Context
	stop  context.CancelCauseFunc
	lives sync.WaitGroup

	mu       sync.Mutex
	places   places
	byID     map[string]*active
	coming   map[*ticket]chan struct{} // who has a place and no run yet; closed when that is known
	troubles map[string]error          // of runs whose output can't be stored
	draining bool
	ending   *cause        // of all runs, once Drain has waited long enough or Close was called
	killed   chan struct{} // closed by Kill
	last     time.Time     // when all must be over, once that is known
}

// New makes a Runner. Call Recover before giving it work.
func New(cfg Config) *Runner {
	cfg.Slots, cfg.Backlog = numbers(cfg.Slots, cfg.Backlog)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.OnPlaces == nil {
		cfg.OnPlaces = func() {}
	}
	if cfg.OnEnd == nil {
		cfg.OnEnd = func(*pb.Run) {}
	}
	r := &Runner{
		cfg: cfg, log: cfg.Logger,
		start:  make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))),
		places: places{slots: cfg.Slots, backlog: cfg.Backlog},
		killed: make(chan struct{}),
		byID:   map[string]*active{}, coming: map[*ticket]chan struct{}{}, troubles: map[string]error{},
	}
	r.ctx, r.stop = context.WithCancelCause(context.Background())
	return r
}

// Known returns the run that the same request has started before, if it has.
func (r *Runner) Known(ctx context.Context, s Submission) (*pb.Run, error) {
	id := r.idOf(s)
	if id == "" {
		return nil, store.ErrUnknownRun
	}
	run, _, err := r.cfg.Store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if run.GetDigest() != s.Digest {
		return nil, fmt.Errorf("cannot start run %s: %w", id, ErrConflict)
	}
	return run, nil
}

// Before is Known for a request that found no place: one of those that came
// before it and have a place may be the same, and not have been recorded yet.
func (r *Runner) Before(ctx context.Context, s Submission) (*pb.Run, error) {
	id := r.idOf(s)
	if id == "" {
		return nil, store.ErrUnknownRun
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	r.mu.Lock()
	coming := slices.Collect(maps.Values(r.coming))
	r.mu.Unlock()
	for _, c := range coming {
		select {
		case <-c:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	first := r.byID[id]
	r.mu.Unlock()
	if first != nil {
		select {
		case <-first.claimed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return r.Known(ctx, s)
}

// idOf is the run's id as far as the request names it.
func (r *Runner) idOf(s Submission) string {
	if s.Queued != nil {
		return pb.AttemptID(s.work(), s.Attempt)
	}
	if s.Group != "" {
		return s.Group + "-" + r.cfg.Name
	}
	return s.Request.GetMetadata().GetId()
}

// Go takes an admitted request through its life and returns when that is over.
// accepted is called once, as soon as the run's record is there or can't be. Go
// says whether the run was its own, and not one that was there before.
func (r *Runner) Go(t *Ticket, s Submission, accepted func(*pb.Run, error)) (ours bool) {
	defer t.Return()
	a, err := r.newActive(t, s)
	if err != nil {
		accepted(nil, err)
		return false
	}
	var answered sync.Once
	patience := time.AfterFunc(claimTimeout, func() {
		if s.Queued != nil || s.Unasked {
			return // nobody waits for an answer
		}
		answered.Do(func() {
			accepted(nil, fmt.Errorf("cannot record run %s: NATS has not taken it in %s", a.id, claimTimeout))
		})
	})
	defer a.discardEarly()
	var run *pb.Run
	run, ours, err = r.claim(t, a, s)
	patience.Stop()
	inTime := false
	answered.Do(func() { accepted(run, err); inTime = true })
	if !ours {
		return false
	}
	defer r.forget(a)
	if !inTime {
		a.end(causeUnconfirmed)
	}
	a.life()
	return true
}
