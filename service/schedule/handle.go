package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/pb"
)

// Place is where a schedule's ticks are handled: once in the fleet, or on one
// runner. All but Runner is required.
type Place struct {
	// Runner is empty for the fleet.
	Runner string
	// ID of what a tick starts.
	ID func(fire Fire, tick time.Time) string
	// Live says whether what a tick has started has not ended.
	Live func(ctx context.Context, id string) (bool, error)
	// Start starts what a tick is for; the same id again starts nothing. After is
	// what has to end first, or empty.
	Start func(ctx context.Context, fire Fire, id, after string) error
	// Note records why a tick, or several, start nothing. Error: ErrKnown.
	Note func(ctx context.Context, fire Fire, n Note) error
}

// ErrKnown: the tick has another record.
var ErrKnown = errors.New("the tick has its record")

// A Note is why a tick, or several, have started nothing.
type Note struct {
	// ID of what would have been started.
	ID string
	// Reason is pb.ReasonExpired, pb.ReasonSkipped, or what a Place gives.
	Reason string
	Text   string
	// Missed has no Count where one tick was handled.
	Missed Missed
}

// handleTries is how often a fire is handled anew, since what its schedule has done
// last had changed, or was read of a server that had not heard of the change.
const handleTries = 5

// Handle does what is to be done for a fire, once. It may be called again for the
// same fire.
func (s *Store) Handle(ctx context.Context, fire Fire, p Place) (err error) {
	if fire.Now != "" {
		return p.Start(ctx, fire, fire.Now, "")
	}
	if fire.Paused != nil || !fire.Within(fire.Tick) {
		return nil
	}
	for range handleTries {
		if err = s.handle(ctx, fire, p); !errors.Is(err, ErrChanged) {
			break
		}
	}
	return err
}

// handle is Handle. Error: ErrChanged.
func (s *Store) handle(ctx context.Context, fire Fire, p Place) error {
	last, err := s.Last(ctx, fire.Name, p.Runner)
	if err != nil {
		return err
	}
	if !fire.Tick.After(last.Tick) || fire.Tick.Before(fire.Since.Truncate(time.Second)) {
		return nil // it was handled, or is older than the schedule
	}
	if m := missed(fire, last.Tick, p); m.Count > 0 {
		// What can't be written over is not the last.
		if last, err = s.SetLast(ctx, fire.Name, p.Runner, last); err != nil {
			return err
		}
		if err := noteMissed(ctx, fire, last.Tick, p); err != nil {
			return err
		}
	}
	id := p.ID(fire, fire.Tick)
	note, after, err := s.verdict(ctx, fire, last, p)
	if err != nil {
		return err
	}
	if note != nil {
		note.ID = id
		if err = p.Note(ctx, fire, *note); errors.Is(err, ErrKnown) {
			err = nil
		}
	} else {
		err = p.Start(ctx, fire, id, after)
		last.Run = id
	}
	if err != nil {
		return err
	}
	last.Tick = fire.Tick
	_, err = s.SetLast(ctx, fire.Name, p.Runner, last)
	return err
}

// missed are the ticks between the last one handled and this one.
func missed(fire Fire, last time.Time, p Place) Missed {
	if brokenUncounted || p.Runner != "" && last.IsZero() { // it is new here
		return Missed{}
	}
	return fire.MissedSince(last)
}

// noteMissed records the ticks between the last one handled and this one. A tick
// that has a record is none of them, though nobody has noted that it was handled.
func noteMissed(ctx context.Context, fire Fire, last time.Time, p Place) error {
	for m := missed(fire, last, p); m.Count > 0; m = missed(fire, last, p) {
		text := fmt.Sprintf("missed %d from %s to %s: nobody was there to fire or to run it", m.Count, m.From.UTC().Format(time.RFC3339), m.To.UTC().Format(time.RFC3339))
		err := p.Note(ctx, fire, Note{ID: p.ID(fire, m.To), Reason: pb.ReasonExpired, Text: text, Missed: m})
		if !errors.Is(err, ErrKnown) {
			return err
		}
		fire.Tick = m.To
	}
	return nil
}

// verdict says why a tick starts nothing, or what has to end before it does.
func (s *Store) verdict(ctx context.Context, fire Fire, last Last, p Place) (note *Note, after string, err error) {
	if fire.Repeated {
		return skipped("repeated hour"), "", nil
	}
	now, err := s.cfg.ServerTime(ctx)
	if err != nil {
		return nil, "", err
	}
	if late, most := now.Sub(fire.Tick), fire.Deadline(); late > most {
		return &Note{Reason: pb.ReasonExpired, Text: fmt.Sprintf("was due %s ago: the start deadline is %s", late.Round(time.Second), most),
			Missed: Missed{Count: 1, From: fire.Tick, To: fire.Tick}}, "", nil
	}
	overlap := fire.OverlapOrDefault()
	if overlap == Allow || last.Run == "" {
		return nil, "", nil
	}
	live, err := p.Live(ctx, last.Run)
	if err != nil || !live {
		return nil, "", err
	}
	if overlap == Replace {
		return nil, last.Run, nil
	}
	return skipped(last.Run + " has not ended"), "", nil
}

// skipped is a note of a tick that was left out for a reason.
func skipped(why string) *Note {
	return &Note{Reason: pb.ReasonSkipped, Text: "skipped: " + why}
}

// Keep has the message of a schedule's next gap be there, after a fire.
func (s *Store) Keep(ctx context.Context, fire Fire) error {
	if p, err := fire.Pattern(); err != nil || p.NextGap(fire.Tick).IsZero() {
		return err
	}
	def, err := s.Get(ctx, fire.Name)
	if errors.Is(err, ErrUnknown) || err == nil && def.Paused != nil {
		return nil
	}
	if err != nil {
		return err
	}
	return s.KeepGap(ctx, def, fire.Tick)
}
