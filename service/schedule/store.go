package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/kv"
	"github.com/runnel-io/runnel/service/stream"
	"github.com/runnel-io/runnel/subjects"
)

// What callers test for, with errors.Is.
var (
	// ErrNone: nobody has made a schedule in this fleet yet.
	ErrNone = errors.New("this fleet has no schedules yet")
	// ErrUnknown: there is no schedule of that name.
	ErrUnknown = errors.New("unknown schedule")
	// ErrChanged: another client has changed the schedule since it was read.
	ErrChanged = errors.New("the schedule has changed meanwhile")
	// ErrOwned: a pipeline's definition has the schedule.
	ErrOwned = errors.New("a pipeline's definition has it")
	// ErrServer: the NATS server can't fire schedules.
	ErrServer = stream.ErrOldServer
)

// Headers of definitions and fires.
const (
	// HeaderSchedule has the Spec as JSON.
	HeaderSchedule = "Runner-Schedule"
	// HeaderGap, on a fire, is the instant at which the wall clock jumped over a
	// tick.
	HeaderGap = "Runner-Gap"
	// HeaderNow, on a fire that somebody asked for, is the id of the group of runs.
	HeaderNow = "Runner-Now"
)

const (
	// minMinor is the oldest version 2 that can.
	minMinor = 14
	// fireLife is how long a fire stays in the stream.
	fireLife = 24 * time.Hour
	// maxHanging is how many pulls may wait on a consumer: one a runner and pool.
	maxHanging = 16 << 10
	// AckWait is how long who has taken a fire may be silent before another gets it.
	AckWait = 10 * time.Second
	// maxInHand is how many fires an engine has in hand at a time.
	maxInHand = 10_000
)

// Config of a Store.
type Config struct {
	JS    jetstream.JetStream
	Space subjects.Space
	// Replicas of what is made anew. 0: as many as the records have.
	Replicas int
	// ServerTime asks the NATS server for its time.
	ServerTime func(context.Context) (time.Time, error)
}

// Store has the schedules of a fleet. It is safe for concurrent use and asks the
// server nothing before it is used.
type Store struct {
	cfg    Config
	stream stream.Stream
	bucket *kv.Lazy
}

// New makes a Store.
func New(cfg Config) *Store {
	return &Store{
		cfg:    cfg,
		stream: stream.Stream{JS: cfg.JS, Name: cfg.Space.ScheduleStream()},
		bucket: &kv.Lazy{JS: cfg.JS, Like: subjects.BucketStream(cfg.Space.RunsBucket()), Config: kv.Config{
			Name: cfg.Space.ScheduleBucket(), Description: "Runnel: what each schedule of fleet " + cfg.Space.Prefix() + " has done last", Replicas: cfg.Replicas,
		}},
	}
}

// Open finds the schedules. Error: ErrNone.
func (s *Store) Open(ctx context.Context) error {
	if _, err := s.open(ctx, false); err != nil {
		return err
	}
	_, err := s.cfg.JS.Stream(ctx, s.stream.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return ErrNone
	}
	return err
}

// ensure makes stream and bucket where there are none: only an admin may, where
// roles are in use.
func (s *Store) ensure(ctx context.Context) error {
	if err := s.Open(ctx); !errors.Is(err, ErrNone) {
		return err
	}
	if err := CheckServer(s.cfg.JS.Conn()); err != nil {
		return err
	}
	err := s.create(ctx)
	if err != nil && !stream.Tidies(s.cfg.JS.Conn()) {
		err = fmt.Errorf("only an admin may make what schedules are kept in: have one add any schedule once: %w", err)
	}
	return err
}

func (s *Store) create(ctx context.Context) error {
	if _, err := s.open(ctx, true); err != nil {
		return err
	}
	_, err := stream.Ensure(ctx, s.cfg.JS, stream.Wanted{
		Name: s.stream.Name,
		Create: func() (jetstream.StreamConfig, error) {
			return jetstream.StreamConfig{
				Name: s.stream.Name, Description: "Runnel: schedules, and what they have fired",
				Subjects: s.cfg.Space.ScheduleSubjects(), Retention: jetstream.LimitsPolicy,
				AllowDirect: true, AllowRollup: true, AllowMsgTTL: true, AllowMsgSchedules: true,
				MaxBytes: -1, Replicas: s.replicas(ctx),
			}, nil
		},
		Change: func(c *jetstream.StreamConfig) { c.AllowMsgTTL, c.AllowMsgSchedules = true, true },
	})
	return err
}

func (s *Store) replicas(ctx context.Context) int {
	if s.cfg.Replicas > 0 {
		return s.cfg.Replicas
	}
	return stream.Replicas(ctx, s.cfg.JS, s.bucket.Like)
}

// CheckServer says whether a connection's server is too old. Error: ErrServer.
func CheckServer(nc *nats.Conn) error { return stream.Need(nc, "schedules need", minMinor) }

func (s *Store) open(ctx context.Context, create bool) (*kv.Bucket, error) {
	b, err := s.bucket.Open(ctx, create)
	if errors.Is(err, kv.ErrNoBucket) {
		return nil, ErrNone
	}
	return b, err
}

// EnsureConsumer makes the durable consumer of what is fired for any runner of a
// pool. One fire of a pool is in hand at a time, so that ticks keep their order;
// the engine does that for each pipeline by itself.
func (s *Store) EnsureConsumer(ctx context.Context, pool string) error {
	inHand := 1
	if pool == subjects.PipelinesPool {
		inHand = maxInHand
	}
	_, err := s.cfg.JS.CreateConsumer(ctx, s.stream.Name, jetstream.ConsumerConfig{
		Durable: subjects.FireConsumer(pool), FilterSubject: s.cfg.Space.Fired(false, pool, "*"),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait, MaxDeliver: -1, MaxAckPending: inHand, MaxWaiting: maxHanging,
	})
	if err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
		return fmt.Errorf("cannot make the consumer of fires for pool %s: %w", pool, err)
	}
	return nil
}
