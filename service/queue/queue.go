package queue

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/service/work"
	"github.com/runnel-io/runnel/subjects"
)

const (
	// lookEvery is how often a runner looks for a queue that it was told nothing
	// of, and whether its pools are paused.
	lookEvery = time.Minute
	// answerTimeout is for one request to the server.
	answerTimeout = stream.RequestTimeout
	// settleTimeout bounds the last word on a message while the runner stops.
	settleTimeout = 5 * time.Second
)

// Config of a Queue. All is required.
type Config struct {
	// Name and Pools are the runner's.
	Name  string
	Pools []string
	Space subjects.Space
	// JS is JetStream over a connection that buffers nothing while it reconnects.
	JS     jetstream.JetStream
	Work   *work.Queue
	Store  *store.Store
	Runner *run.Runner
	// Policy is that of now.
	Policy func() run.Policy
	// MarkLost ends those runs whose runner is gone.
	MarkLost func(context.Context, []*pb.Run) bool
	Logger   *slog.Logger
}

// Counts are what a runner has done with work of the queue.
type Counts struct {
	Taken, Started, Returned, Retried, Done, Conflicts, Rejected atomic.Int64
}

// Queue takes work for one runner. Make one with New, have it work with Run, and
// wait for the last of it with Wait.
type Queue struct {
	cfg    Config
	log    *slog.Logger
	nc     *nats.Conn
	stream string
	clock  *store.ServerClock
	wake   chan struct{}  // places have changed
	told   chan *nats.Msg // somebody says that the queue has changed
	came   chan *nats.Msg // from pulls
	lives  sync.WaitGroup
	Counts Counts

	// Of the goroutine in Run alone.
	inbox    string // replies to short pulls come under it
	pulls    int
	there    bool
	said     bool            // that the server is too old
	paused   map[string]bool // pools
	turn     int             // which pool is asked first
	returned int             // messages of the last look that found no slot of theirs
	batch    int
	retired  []retired // the oldest first

	mu      sync.Mutex
	held    map[*delivery]struct{}
	claims  map[*claiming]struct{}
	ends    map[string]*pb.Run   // of attempts here: nil until one is final
	full    map[string]time.Time // keys that have no room, until when
	refused map[string]time.Time // work that this runner has refused, since when
}

// claiming is an attempt that may start, but is not recorded yet.
type claiming struct {
	pool string
	done chan struct{}
}

// New makes a Queue that takes nothing yet.
func New(cfg Config) *Queue {
	return &Queue{
		cfg: cfg, log: cfg.Logger, nc: cfg.JS.Conn(), stream: cfg.Space.QueueStream(),
		clock: &store.ServerClock{Ask: cfg.Store.ServerTime},
		wake:  make(chan struct{}, 1), told: make(chan *nats.Msg, 64), came: make(chan *nats.Msg, 4*maxBatch),
		paused: map[string]bool{}, held: map[*delivery]struct{}{}, claims: map[*claiming]struct{}{}, ends: map[string]*pb.Run{},
		full: map[string]time.Time{}, refused: map[string]time.Time{},
	}
}

// Changed says that the runner's places may be others now. It never blocks.
func (q *Queue) Changed() {
	if q == nil {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Wait returns when no message is in hand any more: after the runner's runs have
// ended.
func (q *Queue) Wait() { q.lives.Wait() }

// Run takes work until ctx ends. What it has started then still goes on.
func (q *Queue) Run(ctx context.Context) {
	stop, err := q.listen()
	if err != nil {
		q.log.Error("cannot take work of the queue", "runner", q.cfg.Name, "error", err)
		return
	}
	defer stop()
	defer q.dropRetired(0)
	reconnected := q.nc.StatusChanged(nats.CONNECTED)
	defer q.nc.RemoveStatusListener(reconnected)
	var inProgress sync.WaitGroup
	inProgress.Go(func() { q.keepHolding(ctx) })
	defer inProgress.Wait()
	for try := 1; ctx.Err() == nil; try++ {
		select {
		case <-reconnected:
			q.there = false // what was paused meanwhile was not told
		default:
		}
		if err := q.step(ctx, reconnected); err == nil {
			try = 0
		} else if ctx.Err() == nil {
			q.there = false
			q.cfg.Work.Lost()
			q.log.Debug("cannot take work of the queue now", "runner", q.cfg.Name, "error", err)
			q.rest(ctx, reconnected, stream.RetryWait(try))
		}
	}
}

// listen hears what is told to the pools, and the replies to short pulls.
func (q *Queue) listen() (stop func(), err error) {
	var subs []*nats.Subscription
	stop = func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe()
		}
	}
	subscribe := func(subject string, each nats.MsgHandler) {
		if err == nil {
			var sub *nats.Subscription
			if sub, err = q.nc.Subscribe(subject, each); err == nil {
				subs = append(subs, sub)
			}
		}
	}
	for _, pool := range q.cfg.Pools {
		subscribe(q.cfg.Space.QueueTell(pool), func(m *nats.Msg) {
			select {
			case q.told <- m:
			default: // many tell the same
			}
		})
	}
	q.inbox = q.nc.NewInbox()
	subscribe(q.inbox+".*", func(m *nats.Msg) { q.came <- m })
	return stop, err
}

// step does what is to be done now, or waits until there is something.
func (q *Queue) step(ctx context.Context, reconnected <-chan nats.Status) error {
	select {
	case m := <-q.told: // also where there is always work
		q.heard(ctx, m)
	default:
	}
	if !q.there {
		if err := q.find(ctx); errors.Is(err, work.ErrNoQueue) || errors.Is(err, work.ErrServer) {
			q.rest(ctx, reconnected, lookEvery)
			return nil
		} else if err != nil {
			return err
		}
	}
	pools, free := q.open(), q.free()
	if free == 0 || len(pools) == 0 {
		q.rest(ctx, reconnected, lookEvery)
		return nil
	}
	got, err := q.look(ctx, pools, free)
	if err != nil || got > 0 {
		return err
	}
	return q.await(ctx, reconnected, pools)
}

// find looks whether there is a queue, and which pools are paused.
func (q *Queue) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := work.CheckServer(q.nc); err != nil {
		if !q.said {
			q.log.Warn("this runner takes no work of a queue", "runner", q.cfg.Name, "error", err)
		}
		q.said = true
		return err
	}
	if err := q.cfg.Work.Find(ctx); err != nil {
		return err
	}
	for _, pool := range q.cfg.Pools {
		if err := q.readPause(ctx, pool); err != nil {
			return err
		}
		for _, priority := range subjects.Priorities {
			if err := q.cfg.Work.EnsureConsumer(ctx, pool, priority); err != nil {
				return err
			}
		}
	}
	q.there = true
	return nil
}

func (q *Queue) readPause(ctx context.Context, pool string) error {
	pause, err := q.cfg.Work.Paused(ctx, pool)
	q.paused[pool] = pause != nil
	return err
}

// open lists the pools that are not paused, each first in its turn.
func (q *Queue) open() []string {
	var pools []string
	q.turn++
	for i := range q.cfg.Pools {
		pool := q.cfg.Pools[(i+q.turn)%len(q.cfg.Pools)]
		if !q.paused[pool] {
			pools = append(pools, pool)
		}
	}
	return pools
}

// free is how many slots are.
func (q *Queue) free() int {
	load := q.cfg.Runner.Load()
	if !load.Free {
		return 0
	}
	return load.Slots - load.Running
}

// rest waits for something to change, or for so long.
func (q *Queue) rest(ctx context.Context, reconnected <-chan nats.Status, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case m := <-q.came: // late
			q.arrived(ctx, m)
			continue
		case <-q.wake:
			if !q.there {
				continue
			}
		case <-reconnected:
			q.there = false
		case <-timer.C:
			q.there = false
		case m := <-q.told:
			q.heard(ctx, m)
		case <-ctx.Done():
		}
		return
	}
}

// heard reads what has changed, and confirms it once nothing of the pool is about
// to start.
func (q *Queue) heard(ctx context.Context, m *nats.Msg) {
	if err := q.find(ctx); err != nil {
		q.there = false
		return // whoever waits for an answer says that there was none
	}
	pool := m.Subject[len(q.cfg.Space.QueueTell("")):]
	reply, err := json.Marshal(Confirmation{Runner: q.cfg.Name, Pool: pool, Paused: q.paused[pool]})
	if err != nil || m.Reply == "" {
		return
	}
	var claims []*claiming
	q.mu.Lock()
	for c := range q.claims {
		if c.pool == pool {
			claims = append(claims, c)
		}
	}
	q.mu.Unlock()
	q.lives.Go(func() {
		for _, c := range claims {
			<-c.done
		}
		_ = m.Respond(reply) // whoever waits for it says that there was none
	})
}

// Confirmation is how a runner answers on subjects.Space.QueueTell.
type Confirmation struct {
	Runner string `json:"runner"`
	Pool   string `json:"pool"`
	Paused bool   `json:"paused"`
}
