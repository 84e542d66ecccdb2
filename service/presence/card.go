package presence

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
)

// States of a runner, as its card has them.
const (
	StateInitialising = store.StateInitialising
	StateReady        = store.StateReady
	StateDraining     = "draining"
	StateUnhealthy    = "unhealthy"
)

// minBeat keeps a runner whose places change all the time from writing a card each time.
const minBeat = time.Second

func (p *Presence) gatherFacts() *pb.Card {
	c := &pb.Card{
		Name: p.cfg.Name, Instance: p.cfg.Data.Instance, Pools: p.cfg.Pools, Isolation: []string{sandbox.None.String()},
		Machine: p.cfg.Data.Place.Machine, Boot: p.cfg.Data.Place.Boot, Data: p.cfg.Data.Place.Data,
		Cpus: int64(runtime.NumCPU()), Os: runtime.GOOS, Arch: runtime.GOARCH,
		Version: p.cfg.Version, Started: timestamppb.Now(), Interval: int64(p.cfg.CardInterval / time.Second),
	}
	if m, err := mem.VirtualMemory(); err == nil {
		c.Memory = int64(m.Total)
	}
	if name, _, version, err := host.PlatformInformation(); err == nil {
		c.OsName = name + " " + version
	}
	return c
}

// Card is the runner as it is now.
func (p *Presence) Card() *pb.Card {
	p.mu.Lock()
	c := proto.CloneOf(p.facts)
	p.mu.Unlock()
	c.Labels = p.cfg.Labels()
	c.Host, _ = os.Hostname() // it may have been renamed
	l := p.load()
	c.Slots, c.Backlog, c.Running, c.Pending = int64(l.Slots), int64(l.Backlog), int64(l.Running), int64(l.Pending)
	h := p.Health()
	c.State, c.Error = h.State, h.Error
	p.mu.Lock()
	defer p.mu.Unlock()
	c.ClockOffset = p.clockOffset
	return c
}

// Prepares says in the card, in words, what the runner is preparing. It never blocks.
func (p *Presence) Prepares(texts []string) {
	p.changeFacts(func(c *pb.Card) { c.Preparing = texts })
	p.Changed()
}

// Changed asks for a new card soon. It never blocks.
func (p *Presence) Changed() {
	select {
	case p.beat <- struct{}{}:
	default:
	}
}

// PlacesChanged says that the number of free places is another one. It never blocks.
func (p *Presence) PlacesChanged() {
	select {
	case p.places <- struct{}{}:
	default:
	}
}

// keepCard is the runner's heartbeat.
func (p *Presence) keepCard() {
	last := time.Now()
	away := absence{since: last, limit: min(p.cfg.OfflineAfter, p.cfg.LostAfter/2)}
	soon := min(minBeat, p.cfg.CardInterval)
	timer := time.NewTimer(p.cfg.CardInterval)
	defer timer.Stop()
	var told, waits bool // the timer goes off early: somebody asked, places changed
	for {
		select {
		case <-timer.C:
		case <-p.beat:
			told = true
			timer.Reset(max(0, soon-time.Since(last)))
			continue
		case <-p.places:
			if !told && !waits {
				waits = true
				timer.Reset(max(0, min(soon, p.cfg.CardInterval-time.Since(last))))
			}
			continue
		case <-p.ctx.Done():
			return
		}
		// Runs that have come and gone meanwhile are no news.
		rest := p.cfg.CardInterval - time.Since(last)
		isNews := told || rest <= 0 || p.load() != p.written
		told, waits = false, false
		if !isNews {
			timer.Reset(rest)
			continue
		}
		if p.writeCard() == nil && away.over() {
			p.log.Warn("this runner was away; asking whether its runs are still its own", "runner", p.cfg.Name)
			if r := p.runner.Load(); r == nil || r.Recheck(p.ctx) == nil {
				away.looks--
			}
		}
		last = time.Now()
		timer.Reset(p.cfg.CardInterval)
	}
}

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

func (p *Presence) writeCard() error {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.CardInterval)
	defer cancel()
	p.measureClock(ctx)
	p.written = p.load()
	c := p.Card()
	if avg, err := load.AvgWithContext(ctx); err == nil {
		c.Load = avg.Load1
	}
	err := p.write(ctx, c)
	if p.ctx.Err() == nil {
		p.judge(err)
	}
	if err == nil && p.trouble() != nil {
		p.heal(ctx)
	}
	return err
}

// heal makes the stream of the logs again, should somebody have removed it.
func (p *Presence) heal(ctx context.Context) {
	if err := p.cfg.EnsureLogs(ctx); err != nil {
		p.log.Warn("output can't be stored", "runner", p.cfg.Name, "error", err)
	}
}

// sayGoodbye leaves a card that says so: a runner that was stopped is offline
// at once, not when its card is old.
func (p *Presence) sayGoodbye() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.held.mu.Lock()
	holds := p.held.rev != 0 && !p.held.superseded
	p.held.mu.Unlock()
	if !holds || p.cfg.Connected() != nil {
		return
	}
	c := p.Card()
	c.State = store.StateStopped
	if err := p.write(ctx, c); err != nil {
		p.log.Warn("cannot write the last card", "error", err)
	}
}
