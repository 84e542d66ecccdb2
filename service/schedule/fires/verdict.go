package fires

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/stream"
)

// handleTimeout bounds the handling of one fire for any runner: less than the
// time after which the server gives it to another.
const handleTimeout = 8 * time.Second

// place is where a schedule's ticks are handled: once in the fleet, or on one
// runner.
type place struct {
	runner string // empty for the fleet
	// suffix of the ids of its runs.
	suffix string
	// live says whether a run, or queued work, has not ended.
	live func(ctx context.Context, id string) (bool, error)
	// start has the tick run. after is a run that has to end first.
	start func(ctx context.Context, fire schedule.Fire, id, after string) error
}

// id is that of a tick's run.
func (p place) id(fire schedule.Fire, tick time.Time) string {
	return schedule.TickID(fire.Name, tick) + p.suffix
}

// handle does what is to be done for a fire, once. It may be called again for the
// same fire.
func (f *Fires) handle(ctx context.Context, fire schedule.Fire, p place) error {
	if fire.Paused != nil || !fire.Within(fire.Tick) {
		return nil
	}
	last, err := f.cfg.Schedules.Last(ctx, fire.Name, p.runner)
	if err != nil {
		return err
	}
	if !fire.Tick.After(last.Tick) || fire.Tick.Before(fire.Since.Truncate(time.Second)) {
		return nil // it was handled, or is older than the schedule
	}
	if err := f.noteMissed(fire, last.Tick, p); err != nil {
		return err
	}
	id := p.id(fire, fire.Tick)
	note, after, err := f.verdict(ctx, fire, last, p)
	if err != nil {
		return err
	}
	if note != nil {
		note.id = id
		err = f.note(fire, *note)
	} else {
		err = p.start(ctx, fire, id, after)
		last.Run = id
	}
	if err != nil {
		return err
	}
	last.Tick = fire.Tick
	if err := f.cfg.Schedules.SetLast(ctx, fire.Name, p.runner, last); err != nil && !errors.Is(err, schedule.ErrChanged) {
		return err
	}
	return nil
}

// noteMissed records the ticks between the last one handled and this one.
func (f *Fires) noteMissed(fire schedule.Fire, last time.Time, p place) error {
	if p.runner != "" && last.IsZero() {
		return nil // it is new here
	}
	m := fire.MissedSince(last)
	if m.Count == 0 {
		return nil
	}
	text := fmt.Sprintf("missed %d from %s to %s: nobody was there to fire or to run it", m.Count, m.From.UTC().Format(time.RFC3339), m.To.UTC().Format(time.RFC3339))
	return f.note(fire, Note{id: p.id(fire, m.To), reason: pb.ReasonExpired, text: text, missed: run.Missed{Count: m.Count, From: m.From, To: m.To}})
}

// verdict says why a tick has no run, or which run has to end before its own.
func (f *Fires) verdict(ctx context.Context, fire schedule.Fire, last schedule.Last, p place) (note *Note, after string, err error) {
	if fire.Repeated {
		n := skipped("", "repeated hour")
		return &n, "", nil
	}
	now, err := f.cfg.Records.ServerTime(ctx)
	if err != nil {
		return nil, "", err
	}
	if late, most := now.Sub(fire.Tick), fire.Deadline(); late > most {
		return &Note{reason: pb.ReasonExpired, text: fmt.Sprintf("was due %s ago: the start deadline is %s", late.Round(time.Second), most),
			missed: run.Missed{Count: 1, From: fire.Tick, To: fire.Tick}}, "", nil
	}
	overlap := fire.OverlapOrDefault()
	if overlap == schedule.Allow || last.Run == "" {
		return nil, "", nil
	}
	live, err := p.live(ctx, last.Run)
	if err != nil || !live {
		return nil, "", err
	}
	if overlap == schedule.Replace {
		return nil, last.Run, nil
	}
	n := skipped("", last.Run+" has not ended")
	return &n, "", nil
}

// offset is how long a run is put off: fixed for a text.
func offset(text string, jitter time.Duration) time.Duration {
	if jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return time.Duration(h.Sum64() % uint64(jitter))
}

// retry has f tried until it works or ctx ends: a fire that is read once is not
// delivered again.
func retry(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || ctx.Err() != nil || !stream.IsTransient(err) {
			return err
		}
		if !stream.Pause(ctx, stream.RetryWait(try)) {
			return err
		}
	}
}
