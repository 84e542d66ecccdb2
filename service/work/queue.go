package work

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// What callers test for, with errors.Is.
var (
	// ErrNoQueue: nobody has used the queue of this fleet yet.
	ErrNoQueue = errors.New("the queue has not been used yet")
	// ErrFull: the queue is at its limit, or has this very message.
	ErrFull = errors.New("the queue is full")
	// ErrConflict: other work, or a run, has the id.
	ErrConflict = errors.New("another request has this id already")
	// ErrNotWaiting: there is no such work, or it is not waiting.
	ErrNotWaiting = errors.New("it is not waiting in the queue")
	// ErrServer: the NATS server is too old for a queue.
	ErrServer = stream.ErrOldServer
)

const (
	// minMinor is the oldest version 2 that can.
	minMinor = 12
	// AckWait is how long a runner may be silent before its work is given to
	// another; three times in it, it says that it still has it.
	AckWait = 30 * time.Second
	// DefaultMaxMsgs bounds a new queue.
	DefaultMaxMsgs = 1_000_000
	// storeShare is the part of the account's storage that a new queue may take.
	storeShare = 10
	// maxHanging is how many pulls may wait on a consumer: three a runner and pool.
	maxHanging = 16 << 10
)

// Config of a Queue.
type Config struct {
	JS    jetstream.JetStream
	Space subjects.Space
	// Store has the records of runs.
	Store *store.Store
	// Replicas of what is made anew. 0: as many as the records have.
	Replicas int
	// AckWait of consumers that are made anew. Default: AckWait.
	AckWait time.Duration
}

// Queue is the queue of a fleet. It is safe for concurrent use, asks the server
// nothing before it is used, and needs no Close.
type Queue struct {
	cfg         Config
	stream      stream.Stream
	bucket      *kv.Lazy
	expireAgain atomic.Int64 // Unix time in nanoseconds

	mu    sync.Mutex
	there bool            // the stream is
	made  map[string]bool // consumers that are there
}

// New makes a Queue.
func New(cfg Config) *Queue {
	if cfg.AckWait <= 0 {
		cfg.AckWait = AckWait
	}
	return &Queue{
		cfg: cfg, made: map[string]bool{},
		stream: stream.Stream{JS: cfg.JS, Name: cfg.Space.QueueStream()},
		bucket: &kv.Lazy{JS: cfg.JS, Like: subjects.BucketStream(cfg.Space.RunsBucket()), Config: kv.Config{
			Name: cfg.Space.QueueBucket(), Description: "Runnel: the queue of fleet " + cfg.Space.Prefix(), Replicas: cfg.Replicas,
		}},
	}
}

// ProgressEvery is how often a runner says that it still has work.
func (q *Queue) ProgressEvery() time.Duration { return q.cfg.AckWait / 3 }

// CheckServer says whether the server of a connection is too old for a queue.
// Error: ErrServer.
func CheckServer(nc *nats.Conn) error { return stream.Need(nc, "the durable queue needs", minMinor) }

// Find says whether the queue is there. Error: ErrNoQueue.
func (q *Queue) Find(ctx context.Context) error {
	if q.isThere() {
		return nil
	}
	_, err := q.cfg.JS.Stream(ctx, q.stream.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return ErrNoQueue
	}
	if err != nil {
		return fmt.Errorf("cannot find the queue: %w", err)
	}
	if _, err := q.openBucket(ctx, false); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.there = true
	return nil
}

// Lost forgets that stream and consumers are there: somebody may have removed them.
func (q *Queue) Lost() {
	q.bucket.Forget()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.there = false
	clear(q.made)
}

func (q *Queue) isThere() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.there
}

// Ensure makes the queue where there is none, and says whether it did. Error:
// ErrServer.
func (q *Queue) Ensure(ctx context.Context) (made bool, err error) {
	switch err := q.Find(ctx); {
	case err == nil:
		return false, nil
	case !errors.Is(err, ErrNoQueue):
		return false, err
	}
	if err := CheckServer(q.cfg.JS.Conn()); err != nil {
		return false, err
	}
	if _, err := q.openBucket(ctx, true); err != nil {
		return false, err
	}
	_, err = stream.Ensure(ctx, q.cfg.JS, stream.Wanted{
		Name:   q.stream.Name,
		Create: func() (jetstream.StreamConfig, error) { return q.newStream(ctx) },
		Change: func(*jetstream.StreamConfig) {},
	})
	if err != nil {
		return false, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.there = true
	return true, nil
}

func (q *Queue) newStream(ctx context.Context) (jetstream.StreamConfig, error) {
	want := jetstream.StreamConfig{
		Name:        q.stream.Name,
		Description: "Work that waits for a runner; see Runnel's docs/queue",
		Subjects:    q.cfg.Space.WorkSubjects(),
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew, DiscardNewPerSubject: true,
		MaxMsgs: DefaultMaxMsgs, MaxMsgsPerSubject: 1, MaxBytes: -1,
		AllowDirect: true,
		Replicas:    q.replicas(ctx),
	}
	account, err := q.cfg.JS.AccountInfo(ctx)
	if err == nil && account.Limits.MaxStore > 0 {
		want.MaxBytes = account.Limits.MaxStore / storeShare
	}
	return want, nil
}

// replicas are as many as the records have: work is worth no less.
func (q *Queue) replicas(ctx context.Context) int {
	if q.cfg.Replicas > 0 {
		return q.cfg.Replicas
	}
	return stream.Replicas(ctx, q.cfg.JS, q.bucket.Like)
}

func (q *Queue) openBucket(ctx context.Context, create bool) (*kv.Bucket, error) {
	b, err := q.bucket.Open(ctx, create)
	if errors.Is(err, kv.ErrNoBucket) {
		return nil, ErrNoQueue
	}
	return b, err
}

// EnsureConsumer makes the durable consumer of a pool's work of a priority, if it
// isn't there.
func (q *Queue) EnsureConsumer(ctx context.Context, pool, priority string) error {
	name := subjects.WorkConsumer(pool, priority)
	q.mu.Lock()
	there := q.made[name]
	q.mu.Unlock()
	if there {
		return nil
	}
	_, err := q.cfg.JS.Consumer(ctx, q.stream.Name, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = q.cfg.JS.CreateConsumer(ctx, q.stream.Name, jetstream.ConsumerConfig{
			Durable: name, FilterSubject: q.cfg.Space.Work(pool, priority, "*"),
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.cfg.AckWait,
			MaxAckPending: -1, MaxDeliver: -1, MaxWaiting: maxHanging,
		})
		if errors.Is(err, jetstream.ErrConsumerExists) { // made by somebody else, just now
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("cannot make consumer %s of the queue: %w", name, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.made[name] = true
	return nil
}

// Look has the server look at a pool's consumer: it drops requests that nobody
// waits for any more.
func (q *Queue) Look(ctx context.Context, pool, priority string) error {
	ctx, cancel := context.WithTimeout(ctx, stream.AnswerTimeout)
	defer cancel()
	_, err := q.cfg.JS.Consumer(ctx, q.stream.Name, subjects.WorkConsumer(pool, priority))
	return err
}
