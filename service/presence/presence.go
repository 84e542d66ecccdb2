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

// Config of a Presence. All but KeepCount, OnDemand and Adopt is required.
type Config struct {
	// Name, Version and Pools go into the card as they are.
	Name, Version string
	Pools         []string
	// Data has the runner's instance id. Claim may give it another one.
	Data *DataDir
	// Adopt: the data directory was moved here from another machine.
	Adopt bool
	// Labels are those of now.
	Labels func() map[string]string
	// CardInterval is how often the card is written, OfflineAfter and LostAfter
	// how old it may be.
	CardInterval, OfflineAfter, LostAfter time.Duration
	// KeepCount is how many final records are kept at most; 0: all.
	KeepCount int
	// OnDemand leaves it to the first task to find out what the host can do.
	OnDemand bool

	// Languages finds those of this host, with their versions.
	Languages func(context.Context) []string
	// EnsureLogs makes the stream of the logs, should it be missing.
	EnsureLogs func(context.Context) error
	// Answers asks whether a runner of this name answers requests.
	Answers func(context.Context) bool
	// Connected says why NATS can't be reached now, nil if it can.
	Connected func() error
	// OnWait is told what a start waits for.
	OnWait func(error)
	// OnSuperseded is told, once, that another start has taken the identity over.
	// It must not block.
	OnSuperseded func(error)
	Logger       *slog.Logger
}

// Presence keeps a runner's card. Make one with New, take the identity with
// Claim, give it the runner with Open, tell it with Ready that requests are
// heard, and end it with Close.
type Presence struct {
	cfg    Config
	log    *slog.Logger
	store  *store.Store
	runner atomic.Pointer[run.Runner] // nil before Open

	backAt  atomic.Pointer[time.Time] // when NATS came back; nil: it was never away
	dead    dead
	beat    chan struct{} // somebody wants a new card
	places  chan struct{} // the number of free places has changed
	written run.Load      // what the last card says; keepCard's
	able    chan struct{} // closed when the levels of isolation are known
	beats   sync.WaitGroup
	looks   sync.WaitGroup // at what the host can do

	ctx, looking        context.Context // looking ends with ctx, or with Detach
	cancel, stopLooking context.CancelCauseFunc

	held claimed

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
		cfg: cfg, log: cfg.Logger,
		beat: make(chan struct{}, 1), places: make(chan struct{}, 1), able: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.looking, p.stopLooking = context.WithCancelCause(p.ctx)
	return p
}

// Open gives the card the runner and what its host can do.
func (p *Presence) Open(runner *run.Runner, host sandbox.Facts) {
	p.changeFacts(func(c *pb.Card) { abilitiesOf(host, c) })
	p.runner.Store(runner)
	p.findAbilities(runner)
	p.beats.Go(p.keepPruned)
	p.beats.Go(p.keepIndexed)
}

// Ready says that requests are heard.
func (p *Presence) Ready(ctx context.Context) error {
	p.waitForAbilities()
	p.mu.Lock()
	p.ready = true
	p.mu.Unlock()
	return p.write(ctx, p.Card())
}

// Detach ends all that looks at the host; the heartbeat goes on.
func (p *Presence) Detach() {
	p.stopLooking(errClosed)
	p.looks.Wait()
}

// Close ends the heartbeat and leaves a card that says that the runner stopped.
func (p *Presence) Close() {
	p.cancel(errClosed)
	p.looks.Wait()
	p.beats.Wait()
	p.sayGoodbye()
}

// load is what of a runner changes all the time.
func (p *Presence) load() run.Load {
	if r := p.runner.Load(); r != nil {
		return r.Load()
	}
	return run.Load{}
}

// trouble says why output of runs can't be stored.
func (p *Presence) trouble() error {
	if r := p.runner.Load(); r != nil {
		return r.Trouble()
	}
	return nil
}

// Back says that NATS was away and can be reached again.
func (p *Presence) Back() {
	now := time.Now()
	p.backAt.Store(&now)
	p.Changed()
}

// oneLine is an error's text for a card.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
