package fires

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/schedule"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// replaceWait is how long the run that another replaces may take to end, at a time.
const replaceWait = 30 * time.Second

// forAll runs a fire here, if this runner is one of those that it is for.
func (f *Fires) forAll(ctx context.Context, m jetstream.Msg) {
	fire, err := f.cfg.Schedules.Fire(ctx, m)
	if err != nil {
		f.log.Warn("cannot read what a schedule has fired", "schedule", fire.Name, "error", err)
		return
	}
	if !f.isMeant(fire) || time.Since(fire.Tick) > fire.Deadline() {
		return // the next one that is not too late counts it as missed
	}
	if fire.Now == "" && !fire.Tick.After(f.handled[fire.Name]) {
		return // read anew
	}
	err = retry(ctx, func() error { return f.cfg.Schedules.Handle(ctx, fire, f.here()) })
	if err == nil {
		if fire.Now == "" {
			f.handled[fire.Name] = fire.Tick
		}
		err = retry(ctx, func() error { return f.cfg.Schedules.Keep(ctx, fire) })
	}
	if err != nil && ctx.Err() == nil {
		f.log.Warn("cannot handle a fire", "schedule", fire.Name, "tick", fire.Tick, "error", err)
	}
}

func (f *Fires) isMeant(fire schedule.Fire) bool {
	if len(fire.On) > 0 && !slices.Contains(fire.On, f.cfg.Name) {
		return false
	}
	if fire.Where == "" {
		return true
	}
	matches, err := f.cfg.Matches(fire.Where)
	return err == nil && matches
}

// here is the place of what each runner does for itself.
func (f *Fires) here() schedule.Place {
	id := func(fire schedule.Fire, tick time.Time) string {
		return schedule.TickID(fire.Name, tick) + "-" + f.cfg.Name
	}
	return schedule.Place{Runner: f.cfg.Name, ID: id, Live: f.runs, Start: f.begin, Note: f.note}
}

// runs says whether a run has not ended.
func (f *Fires) runs(ctx context.Context, id string) (bool, error) {
	record, _, err := f.cfg.Records.Get(ctx, id)
	if errors.Is(err, store.ErrUnknownRun) {
		return false, nil
	}
	return err == nil && !store.Final(record.GetState()), err
}

// begin starts a run of a tick, and returns when it has its record.
func (f *Fires) begin(ctx context.Context, fire schedule.Fire, id, after string) error {
	s, err := f.cfg.Runner.Submit(fire.Request(id), func(header string) string {
		if header == subjects.HeaderGroup {
			return fire.Now // its runs are one fan-out
		}
		return ""
	}, f.cfg.Policy())
	if fire.Now != "" {
		id += "-" + f.cfg.Name
	}
	if err == nil {
		err = f.cfg.Runner.CheckHost(s.Request.GetSpec().GetTask())
	}
	if err != nil {
		return f.note(ctx, fire, schedule.Note{ID: id, Reason: pb.ReasonRejected, Text: err.Error()})
	}
	s.Unasked = true
	wait := time.Until(fire.Tick.Add(offset(f.cfg.Name, fire.JitterMax())))
	if fire.Now == "" && wait > 0 || after != "" {
		s.Turn = func(ctx context.Context) { f.waitFor(ctx, wait, after) }
	}
	return f.launch(ctx, s, fire, id)
}

// waitFor waits for the run's turn: for its offset, and for the end of the run that
// it replaces.
func (f *Fires) waitFor(ctx context.Context, wait time.Duration, after string) {
	rest(ctx, nil, wait)
	for after != "" && ctx.Err() == nil {
		if err := f.cfg.Abort(ctx, after, replaceWait); err != nil {
			f.log.Warn("cannot abort the last run of a schedule", "run", after, "error", err)
		}
		if live, err := f.runs(ctx, after); err == nil && !live {
			return
		}
		rest(ctx, nil, time.Second)
	}
}

// launch records the run, which then takes a place, if need be in the backlog, and
// whose life goes on by itself. What has no record yet when a runner dies would be
// missing without a word, so also a run that waits for its turn has one first.
func (f *Fires) launch(ctx context.Context, s run.Submission, fire schedule.Fire, id string) error {
	admit := func() (*run.Ticket, error) { return f.cfg.Runner.Admit(true) }
	if s.Turn != nil {
		admit = f.cfg.Runner.AdmitLater
	}
	ticket, err := admit()
	if err != nil {
		return err
	}
	claimed := make(chan error, 1)
	f.lives.Go(func() {
		f.cfg.Runner.Go(ticket, s, func(_ *pb.Run, err error) { claimed <- err })
	})
	select {
	case err = <-claimed:
	case <-ctx.Done():
		return ctx.Err()
	}
	var invalid *pb.InvalidError
	switch {
	case errors.Is(err, run.ErrConflict), errors.Is(err, store.ErrRemoved):
		return nil // it has its record
	case errors.As(err, &invalid), errors.Is(err, store.ErrTooLarge):
		return f.note(ctx, fire, schedule.Note{ID: id, Reason: pb.ReasonRejected, Text: err.Error()})
	}
	return err
}
