package service

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// States of a runner, as its card has them.
const (
	StateInitialising = "initialising"
	StateReady        = "ready"
	StateDraining     = "draining"
	StateUnhealthy    = "unhealthy"
)

// minBeat keeps a runner whose places change all the time from writing a card each time.
const minBeat = time.Second

// openCard writes the first card before the first request is heard, because a
// run whose runner has no card counts as lost, and keeps it fresh.
func (s *Service) openCard(ctx context.Context) error {
	s.facts = s.gatherFacts()
	s.findAbilities()
	s.measureClock(ctx)
	if err := s.store.PutCard(ctx, s.card()); err != nil {
		return err
	}
	s.beats.Go(s.keepCard)
	s.beats.Go(s.keepPruned)
	s.onClose(func() {
		s.cancel(errStopping)
		s.beats.Wait()
		s.sayGoodbye()
	})
	return nil
}

func (s *Service) gatherFacts() *pb.Card {
	c := &pb.Card{
		Name: s.cfg.Name, Instance: s.instance, Pools: s.cfg.Pools,
		Cpus: int64(runtime.NumCPU()), Os: runtime.GOOS, Arch: runtime.GOARCH,
		Version: Version, Started: timestamppb.Now(), Interval: int64(s.cfg.CardInterval / time.Second),
	}
	c.Host, _ = os.Hostname()
	if m, err := mem.VirtualMemory(); err == nil {
		c.Memory = int64(m.Total)
	}
	if name, _, version, err := host.PlatformInformation(); err == nil {
		c.OsName = name + " " + version
	}
	abilitiesOf(s.host.Facts(), c)
	return c
}

// card is the runner as it is now.
func (s *Service) card() *pb.Card {
	s.mu.Lock()
	c := proto.CloneOf(s.facts)
	s.mu.Unlock()
	c.Labels = s.settings.Load().labels
	l := s.runner.Load()
	c.Slots, c.Backlog, c.Running, c.Pending = int64(l.Slots), int64(l.Backlog), int64(l.Running), int64(l.Pending)
	h := s.Health()
	c.State, c.Error = h.State, h.Error
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ClockOffset = s.clockOffset
	return c
}

// changed asks for a new card soon. It never blocks.
func (s *Service) changed() {
	select {
	case s.beat <- struct{}{}:
	default:
	}
}

// keepCard is the runner's heartbeat.
func (s *Service) keepCard() {
	last := time.Now()
	away := absence{since: last, limit: min(s.cfg.OfflineAfter, s.cfg.LostAfter/2)}
	soon := min(minBeat, s.cfg.CardInterval)
	timer := time.NewTimer(s.cfg.CardInterval)
	defer timer.Stop()
	var told, waits bool // the timer goes off early: somebody asked, places changed
	for {
		select {
		case <-timer.C:
		case <-s.beat:
			told = true
			timer.Reset(max(0, soon-time.Since(last)))
			continue
		case <-s.places:
			if !told && !waits {
				waits = true
				timer.Reset(max(0, min(soon, s.cfg.CardInterval-time.Since(last))))
			}
			continue
		case <-s.ctx.Done():
			return
		}
		// Runs that have come and gone meanwhile are no news.
		rest := s.cfg.CardInterval - time.Since(last)
		isNews := told || rest <= 0 || s.load() != s.written
		told, waits = false, false
		if !isNews {
			timer.Reset(rest)
			continue
		}
		if s.writeCard() == nil && away.over() {
			s.log.Warn("this runner was away; asking whether its runs are still its own", "runner", s.cfg.Name)
			if s.runner.Recheck(s.ctx) == nil {
				away.looks--
			}
		}
		last = time.Now()
		timer.Reset(s.cfg.CardInterval)
	}
}

// load is what of a runner changes all the time.
func (s *Service) load() cardLoad {
	l := s.runner.Load()
	return cardLoad{l.Running, l.Pending}
}

type cardLoad struct{ running, pending int }

// absence knows whether a runner was stopped or cut off for so long that others
// may have ended its runs.
type absence struct {
	since time.Time // when NATS last took the card
	limit time.Duration
	looks int // still to be made
}

// over says, when NATS has taken the card again, whether to look at the runs:
// twice, because who ends them may be at it just now.
func (a *absence) over() bool {
	if time.Since(a.since) > a.limit {
		a.looks = 2
	}
	a.since = time.Now()
	return a.looks > 0
}

func (s *Service) writeCard() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.CardInterval)
	defer cancel()
	s.measureClock(ctx)
	c := s.card()
	s.written = cardLoad{int(c.Running), int(c.Pending)}
	if avg, err := load.AvgWithContext(ctx); err == nil {
		c.Load = avg.Load1
	}
	err := s.store.PutCard(ctx, c)
	if s.ctx.Err() == nil {
		s.judge(err)
	}
	if err == nil && s.runner.Trouble() != nil {
		s.heal(ctx)
	}
	return err
}

// heal makes the stream of the logs again, should somebody have removed it.
func (s *Service) heal(ctx context.Context) {
	if err := s.ensureLogs(ctx); err != nil {
		s.log.Warn("output can't be stored", "runner", s.cfg.Name, "error", err)
	}
}

// measureClock compares this clock with the NATS server's, half the way there
// taken off. How far off that may be is the other half: a measurement that took
// much longer than the best of late says nothing new.
func (s *Service) measureClock(ctx context.Context) {
	sent := time.Now()
	theirs, err := s.store.ServerTime(ctx)
	if err != nil {
		return
	}
	travel := time.Since(sent)
	offset := float64(theirs.Sub(sent.Add(travel/2))) / float64(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clockOffset != nil && travel > 2*s.clockTravel {
		s.clockTravel += s.clockTravel/4 + time.Microsecond // it grows old
		return
	}
	s.clockOffset, s.clockTravel = &offset, travel
}

// sayGoodbye leaves a card that says so: a runner that was stopped is offline
// at once, not when its card is old.
func (s *Service) sayGoodbye() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c := s.card()
	c.State = store.StateStopped
	if s.pub.IsConnected() {
		if err := s.store.PutCard(ctx, c); err != nil {
			s.log.Warn("cannot write the last card", "error", err)
		}
	}
}

// selectors keeps the compiled form of the last ones: a fleet is asked with the
// same one again and again.
type selectors struct {
	mu   sync.Mutex
	last map[string]*store.Where
}

const maxSelectors = 64

func (c *selectors) compile(text string) (*store.Where, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.last[text]; ok {
		return w, nil
	}
	w, err := store.CompileWhere(text)
	if err != nil {
		return nil, err
	}
	if c.last == nil || len(c.last) >= maxSelectors {
		c.last = map[string]*store.Where{}
	}
	c.last[text] = w
	return w, nil
}
