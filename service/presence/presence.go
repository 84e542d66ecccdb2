// Package presence is how a runner stands in its fleet: its identity, its card
// and heartbeat, its health, and which of the others are gone.
//
// The card is a record in the fleet's bucket. It is written before the runner
// takes its first request, every CardInterval after that, and sooner when
// something in it has changed. A runner whose card is old is offline, and after
// LostAfter its runs are lost.
package presence

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
)

var errClosed = errors.New("this runner is stopping")

// Config of a Presence. All but KeepCount and OnDemand is required.
type Config struct {
	// Name, Instance, Version and Pools go into the card as they are.
	Name, Instance, Version string
	Pools                   []string
	// Labels are those of now.
	Labels func() map[string]string
	// CardInterval is how often the card is written, OfflineAfter and LostAfter
	// how old it may be.
	CardInterval, OfflineAfter, LostAfter time.Duration
	// KeepCount is how many final records are kept at most; 0: all.
	KeepCount int
	// OnDemand leaves it to the first task to find out what the host can do.
	OnDemand bool

	Store  *store.Store
	Host   *sandbox.Host
	Runner *run.Runner
	// Languages finds those of this host, with their versions.
	Languages func(context.Context) []string
	// EnsureLogs makes the stream of the logs, should it be missing.
	EnsureLogs func(context.Context) error
	// Connected says whether NATS can be reached now.
	Connected func() bool
	Logger    *slog.Logger
}

// Presence keeps a runner's card. Make one with New, start it with Open, tell
// it with Ready that requests are heard, and end it with Close.
type Presence struct {
	cfg    Config
	log    *slog.Logger
	store  *store.Store
	runner *run.Runner

	backAt  atomic.Pointer[time.Time] // when NATS came back; nil: it was never away
	dead    dead
	beat    chan struct{} // somebody wants a new card
	places  chan struct{} // the number of free places has changed
	written cardLoad      // what the last card says; keepCard's
	able    chan struct{} // closed when the levels of isolation are known
	beats   sync.WaitGroup

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu          sync.Mutex
	ready       bool
	unhealthy   string
	clockOffset *float64
	clockTravel time.Duration // of the question whose answer clockOffset is
	facts       *pb.Card      // what of the card seldom changes; replaced, never changed
}

// New makes a Presence that writes nothing yet.
func New(cfg Config) *Presence {
	p := &Presence{
		cfg: cfg, log: cfg.Logger, store: cfg.Store, runner: cfg.Runner,
		beat: make(chan struct{}, 1), places: make(chan struct{}, 1), able: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	return p
}

// Open writes the first card, before the first request is heard, because a run
// whose runner has no card counts as lost, and keeps it fresh.
func (p *Presence) Open(ctx context.Context) error {
	p.facts = p.gatherFacts()
	p.findAbilities()
	p.measureClock(ctx)
	if err := p.store.PutCard(ctx, p.Card()); err != nil {
		return err
	}
	p.beats.Go(p.keepCard)
	p.beats.Go(p.keepPruned)
	return nil
}

// Ready says that requests are heard.
func (p *Presence) Ready(ctx context.Context) error {
	p.waitForAbilities()
	p.mu.Lock()
	p.ready = true
	p.mu.Unlock()
	return p.store.PutCard(ctx, p.Card())
}

// Close ends the heartbeat and leaves a card that says that the runner stopped.
func (p *Presence) Close() {
	p.cancel(errClosed)
	p.beats.Wait()
	if p.facts != nil {
		p.sayGoodbye()
	}
}

// Back says that NATS was away and can be reached again.
func (p *Presence) Back() {
	now := time.Now()
	p.backAt.Store(&now)
	p.Changed()
}

// oneLine is an error's text for a card.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
