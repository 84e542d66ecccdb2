package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
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

// Put stores a schedule over revision rev, whose pause it keeps: 0 for a new one.
// Its ticks count from now. Errors: ErrChanged, ErrServer, *pb.InvalidError.
func (s *Store) Put(ctx context.Context, def Schedule, rev uint64) (Schedule, error) {
	now, err := s.cfg.ServerTime(ctx)
	if err != nil {
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, err)
	}
	if err := def.Check(now); err != nil {
		return def, err
	}
	if def.Paused, err = s.pauseOf(ctx, def.Name, rev); err != nil {
		return def, err
	}
	if err := s.ensure(ctx); err != nil {
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, err)
	}
	if !def.All && stream.Tidies(s.cfg.JS.Conn()) { // else the pool's runners make it
		if err := s.EnsureConsumer(ctx, def.PoolOrDefault()); err != nil {
			return def, err
		}
	}
	// Once more: the first use takes a while, and its ticks would count as missed.
	if now, err = s.cfg.ServerTime(ctx); err != nil {
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, err)
	}
	def.Since = now.UTC()
	return s.publish(ctx, def, rev)
}

// Change stores a schedule over the one that is there: revision rev of it, or any
// if that is 0. Errors: ErrUnknown, and those of Put.
func (s *Store) Change(ctx context.Context, def Schedule, rev uint64) (Schedule, error) {
	there, err := s.Get(ctx, def.Name)
	var invalid *pb.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		return def, err
	}
	if there.Pipeline != "" {
		return def, there.Owned("change")
	}
	if rev == 0 {
		rev = there.Rev
	}
	return s.Put(ctx, def, rev)
}

// pauseOf is the pause of the schedule that is written over.
func (s *Store) pauseOf(ctx context.Context, name string, rev uint64) (*Pause, error) {
	if rev == 0 {
		return nil, nil
	}
	there, err := s.Get(ctx, name)
	var invalid *pb.InvalidError
	switch {
	case errors.As(err, &invalid): // another client's, which is none
		return nil, nil
	case errors.Is(err, ErrUnknown), err == nil && there.Rev != rev:
		return nil, fmt.Errorf("cannot store schedule %s: %w", name, ErrChanged)
	}
	return there.Paused, err
}

// publish stores a definition that was checked, and the message of its next gap.
func (s *Store) publish(ctx context.Context, def Schedule, rev uint64) (Schedule, error) {
	m, err := s.message(def)
	if err != nil {
		return def, err
	}
	// The client adds headers of its own to what it publishes; the last message of
	// the subject alone is wanted.
	m.Header.Set(nats.MsgRollup, nats.MsgRollupSubject)
	ack, err := s.stream.Publish(ctx, m, rev)
	if stream.IsWrongLast(err) && rev == 0 {
		if marker, getErr := s.Get(ctx, def.Name); errors.Is(getErr, ErrUnknown) && marker.Rev > 0 { // removed just now
			ack, err = s.stream.Publish(ctx, m, marker.Rev)
		}
	}
	switch {
	case stream.IsWrongLast(err) && rev == 0:
		if now, getErr := s.Get(ctx, def.Name); getErr == nil {
			return now, fmt.Errorf("cannot store schedule %s: there is one of that name: %w", def.Name, ErrChanged)
		}
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, ErrChanged)
	case stream.IsWrongLast(err):
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, ErrChanged)
	case err != nil:
		return def, fmt.Errorf("cannot store schedule %s: %w", def.Name, explain(err))
	}
	def.Rev = ack.Sequence
	if err := s.moveGap(ctx, def); err != nil {
		return def, err
	}
	return def, s.cfg.JS.Conn().Publish(s.cfg.Space.ScheduleTell(), nil)
}

// explain puts what the server refuses into a reader's words.
func explain(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeUnknownZone {
		return fmt.Errorf("the NATS server does not know the time zone; install its zone database (tzdata): %w", err)
	}
	return err
}

// codeUnknownZone is the server's for a zone that it can't load.
const codeUnknownZone jetstream.ErrorCode = 10223

// message is a definition as the server takes it. Without the headers of a
// schedule, which a paused one hasn't, the server forgets the one before.
func (s *Store) message(def Schedule) (*nats.Msg, error) {
	spec, err := def.header()
	if err != nil {
		return nil, err
	}
	body, err := pb.MarshalJSON(def.Task)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: s.cfg.Space.ScheduleDef(def.Name), Data: body, Header: nats.Header{}}
	m.Header.Set(HeaderSchedule, spec)
	if def.Paused != nil {
		return m, nil
	}
	p, err := def.Pattern()
	if err != nil {
		return nil, err
	}
	m.Header.Set(headerPattern, p.String())
	if p.Zone() != "" {
		m.Header.Set(headerZone, p.Zone())
	}
	s.target(m, def)
	return m, nil
}

// The server's headers of a schedule, and of what it fires.
const (
	headerPattern   = "Nats-Schedule"
	headerZone      = "Nats-Schedule-Time-Zone"
	headerTarget    = "Nats-Schedule-Target"
	headerTTL       = "Nats-Schedule-TTL"
	headerScheduler = "Nats-Scheduler"
	headerNext      = "Nats-Schedule-Next"
)

func (s *Store) target(m *nats.Msg, def Schedule) {
	m.Header.Set(headerTarget, s.cfg.Space.Fired(def.All, def.PoolOrDefault(), def.Name))
	m.Header.Set(headerTTL, fireLife.String())
}

// moveGap puts the next gap of a definition in the place of an old one's.
func (s *Store) moveGap(ctx context.Context, def Schedule) error {
	subject := s.cfg.Space.ScheduleGap(def.Name)
	if _, err := s.stream.Last(ctx, subject); err == nil {
		if err := s.purge(ctx, subject); err != nil {
			return fmt.Errorf("cannot remove the old gap of schedule %s: %w", def.Name, err)
		}
	}
	if def.Paused != nil {
		return nil
	}
	return s.KeepGap(ctx, def, def.Since)
}

// KeepGap has the server fire at the first instant after t at which the wall
// clock jumps over a tick, if it ever does.
func (s *Store) KeepGap(ctx context.Context, def Schedule, t time.Time) error {
	p, err := def.Pattern()
	if err != nil {
		return err
	}
	gap := p.NextGap(t)
	if gap.IsZero() {
		return nil
	}
	subject := s.cfg.Space.ScheduleGap(def.Name)
	if have, err := s.stream.Last(ctx, subject); err == nil && have.Header.Get(HeaderGap) == gap.Format(time.RFC3339) && have.Header.Get(headerRev) == fmt.Sprint(def.Rev) {
		return nil
	}
	m, err := s.message(def)
	if err != nil {
		return err
	}
	m.Subject = subject
	m.Header.Del(headerZone)
	m.Header.Set(headerPattern, "@at "+gap.Format(time.RFC3339))
	m.Header.Set(HeaderGap, gap.Format(time.RFC3339))
	m.Header.Set(headerRev, fmt.Sprint(def.Rev))
	m.Header.Set(nats.MsgRollup, nats.MsgRollupSubject)
	if _, err := s.cfg.JS.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("cannot store the next gap of schedule %s: %w", def.Name, err)
	}
	return nil
}

// headerRev says which revision of the definition a gap belongs to.
const headerRev = "Runner-Schedule-Rev"

func (s *Store) purge(ctx context.Context, subject string) error {
	if !stream.Tidies(s.cfg.JS.Conn()) {
		return s.mark(ctx, subject)
	}
	st, err := s.cfg.JS.Stream(ctx, s.stream.Name)
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// Get reads a schedule. Error: ErrUnknown.
func (s *Store) Get(ctx context.Context, name string) (Schedule, error) {
	if CheckName(name) != nil {
		return Schedule{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	m, err := s.stream.Last(ctx, s.cfg.Space.ScheduleDef(name))
	var api *jetstream.APIError
	switch {
	case errors.Is(err, stream.ErrNoMessage), errors.Is(err, nats.ErrNoResponders), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return Schedule{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	case err != nil:
		return Schedule{}, fmt.Errorf("cannot read schedule %s: %w", name, err)
	case isMarker(m):
		return Schedule{Rev: m.Seq}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return s.read(name, m.Header, m.Data, m.Seq)
}

// isMarker says whether a message stands where a removed one was.
func isMarker(m stream.Message) bool {
	return len(m.Data) == 0 && m.Header.Get(HeaderSchedule) == "" && m.Header.Get(headerPattern) == ""
}

// read makes a Schedule of a message: a definition, or a fire, which has its
// headers and body.
func (s *Store) read(name string, h nats.Header, body []byte, rev uint64) (Schedule, error) {
	def := Schedule{Name: name, Rev: rev, Task: &pb.TaskRequest{}}
	spec, err := readSpec(h.Get(HeaderSchedule))
	if errors.Is(err, errNoPattern) {
		err = spec.foreign(h)
		all, pool, _, ok := s.cfg.Space.ParseFired(h.Get(headerTarget))
		if ok {
			spec.All, spec.Pool = all, strings.TrimPrefix(pool, subjects.NoPool)
		}
	}
	def.Spec = spec
	if err != nil || spec.Pipeline != "" {
		return def, err
	}
	return def, pb.DecodeRequest(body, h.Get(subjects.HeaderContentType) == subjects.Protobuf, def.Task)
}

// foreign fills a Spec from the server's own headers.
func (s *Spec) foreign(h nats.Header) error {
	text := h.Get(headerPattern)
	switch {
	case text == "":
		return nil // a fire: its definition tells
	case strings.HasPrefix(text, "@every "):
		s.Every = strings.TrimPrefix(text, "@every ")
	case strings.HasPrefix(text, "@at "):
		at, err := time.Parse(time.RFC3339, strings.TrimPrefix(text, "@at "))
		if err != nil {
			return err
		}
		s.At = &at
	default:
		s.Cron, s.Zone = text, h.Get(headerZone)
	}
	return nil
}

// List reads all schedules, by name. Those that can't be read are left out.
func (s *Store) List(ctx context.Context) ([]Schedule, error) {
	st, err := s.cfg.JS.Stream(ctx, s.stream.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list schedules: %w", err)
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(s.cfg.Space.ScheduleDef("*")))
	if err != nil {
		return nil, fmt.Errorf("cannot list schedules: %w", err)
	}
	var all []Schedule
	for subject := range info.State.Subjects {
		name, _ := s.cfg.Space.ParseScheduleDef(subject)
		def, err := s.Get(ctx, name)
		var invalid *pb.InvalidError
		switch {
		case errors.Is(err, ErrUnknown), errors.As(err, &invalid): // removed just now, or another client's
		case err != nil:
			return nil, err
		default:
			all = append(all, def)
		}
	}
	slices.SortFunc(all, func(a, b Schedule) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Remove removes a schedule, its gap, what it has fired and not been taken, and
// what is known of it. Runs that it has started go on. A user of a role may not
// purge, and does what Withdraw does. Error: ErrUnknown.
func (s *Store) Remove(ctx context.Context, name string) error {
	def, err := s.Get(ctx, name)
	var invalid *pb.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		return err
	}
	if !stream.Tidies(s.cfg.JS.Conn()) {
		return s.Withdraw(ctx, name)
	}
	for _, subject := range []string{
		s.cfg.Space.ScheduleDef(name), s.cfg.Space.ScheduleGap(name), s.cfg.Space.Fired(def.All, def.PoolOrDefault(), name),
	} {
		if err := s.purge(ctx, subject); err != nil {
			return fmt.Errorf("cannot remove schedule %s: %w", name, err)
		}
	}
	return s.forget(ctx, name)
}

// Withdraw is Remove for those who may write definitions and may not purge: what
// stands in their place is gone after a second. What was fired stays.
func (s *Store) Withdraw(ctx context.Context, name string) error {
	for _, subject := range []string{s.cfg.Space.ScheduleGap(name), s.cfg.Space.ScheduleDef(name)} {
		if err := s.mark(ctx, subject); err != nil {
			return fmt.Errorf("cannot remove schedule %s: %w", name, err)
		}
	}
	b, err := s.open(ctx, false)
	if err != nil {
		return err
	}
	last, err := s.Last(ctx, name, "")
	if err == nil && last.rev != 0 {
		err = b.Delete(ctx, lastKey(name, ""), last.rev, 0)
	}
	var conflict *kv.ConflictError
	if errors.As(err, &conflict) {
		return nil
	}
	return err
}

// mark has nothing be on a subject, for those who may not purge.
func (s *Store) mark(ctx context.Context, subject string) error {
	last, err := s.stream.Last(ctx, subject)
	if errors.Is(err, stream.ErrNoMessage) || err == nil && isMarker(last) {
		return nil
	}
	if err == nil {
		m := &nats.Msg{Subject: subject, Header: nats.Header{nats.MsgRollup: []string{nats.MsgRollupSubject}}}
		_, err = s.stream.Publish(ctx, m, last.Seq, jetstream.WithMsgTTL(markerLife))
	}
	if stream.IsWrongLast(err) {
		return nil
	}
	return err
}

// markerLife is how long what has replaced a definition is kept.
const markerLife = time.Second

// SetPaused pauses a schedule or resumes it. Ticks of a pause are not made up for.
func (s *Store) SetPaused(ctx context.Context, name string, paused bool, by string) (Schedule, error) {
	def, err := s.Get(ctx, name)
	if err != nil || paused == (def.Paused != nil) {
		return def, err
	}
	now, err := s.cfg.ServerTime(ctx)
	if err != nil {
		return def, fmt.Errorf("cannot change schedule %s: %w", name, err)
	}
	def.Paused, def.Since = nil, now.UTC()
	if paused {
		def.Paused = &Pause{Since: now.UTC(), By: by}
	}
	return s.publish(ctx, def, def.Rev)
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
