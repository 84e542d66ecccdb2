package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
)

// claim creates the run's record, however long NATS takes to say yes or no: one
// that was stored and not acknowledged would be a run that nobody has. A run
// that is not ours had been started by the same request before.
func (r *Runner) claim(t *Ticket, a *active, s Submission) (run *pb.Run, ours bool, err error) {
	first, ending := r.remember(a)
	if ending != nil && first == a && s.Queued != nil {
		r.forget(a) // another runner takes it
		close(a.claimed)
		return nil, false, ErrDraining
	}
	if ending != nil {
		a.end(ending)
	}
	if first != a {
		t.Return() // the first may be waiting for it
		select {
		case <-first.claimed:
		case <-r.ctx.Done():
		}
		run, err = r.known(s)
		return run, false, err
	}
	a.prepareEarly()
	var rev uint64
	if err = r.logIsFree(a); err == nil || brokenNoClaim {
		rev, err = r.cfg.Store.Create(r.ctx, a.snapshot()) // an abort may come already
	}
	if brokenNoClaim && errors.Is(err, store.ErrExists) {
		_, rev, err = r.cfg.Store.Get(r.ctx, a.id)
	}
	if err == nil {
		a.rev = rev
		close(a.claimed)
		return a.snapshot(), true, nil
	}
	a.discardEarly() // whoever is told may use the id again at once
	r.forget(a)
	close(a.claimed)
	if errors.Is(err, store.ErrExists) {
		run, err = r.known(s)
		return run, false, err
	}
	if errors.Is(err, ErrLogKept) { // by the same request, if its record is there, too
		if run, knownErr := r.known(s); knownErr == nil || errors.Is(knownErr, ErrConflict) {
			return run, false, knownErr
		}
	}
	return nil, false, fmt.Errorf("cannot record run %s: %w", a.id, err)
}

// freshFor is how old an id of our own form may be to count as a new one: less
// than records are kept, so that one which was used has its record, or its marker.
const freshFor = 12 * time.Hour

// logIsFree refuses an id whose log is there already, while its record is gone:
// this run's output could not be stored, which nobody would know before it started.
// What a caller has just made up is not looked for.
func (r *Runner) logIsFree(a *active) error {
	if id, err := ulid.ParseStrict(a.id); err == nil {
		if age := time.Since(id.Timestamp()); age > -time.Minute && age < freshFor {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(r.ctx, claimTimeout)
	defer cancel()
	there, err := logs.Kept(ctx, r.cfg.JS, a.run)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // nor is there any log; health says what is wrong
	}
	if err != nil {
		return fmt.Errorf("cannot see whether its id was used before: %w", err)
	}
	if there {
		return ErrLogKept
	}
	return nil
}

// known is Known for a run that must be there, unless its claim failed.
func (r *Runner) known(s Submission) (*pb.Run, error) {
	ctx, cancel := context.WithTimeout(r.ctx, claimTimeout)
	defer cancel()
	run, err := r.Known(ctx, s)
	if errors.Is(err, store.ErrUnknownRun) {
		return nil, fmt.Errorf("cannot record run %s: %s", r.idOf(s), err.Error()) // no 404: it was not asked for by id
	}
	return run, err
}

// claimTimeout is shorter than a caller's patience: the nats CLI waits 5 s.
const claimTimeout = 4 * time.Second

// remember returns the run that has the id: a, or the one that came before it;
// and what all runs are to end of by now.
func (r *Runner) remember(a *active) (first *active, ending *cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.hasCome(a.ticket)
	if first, ok := r.byID[a.id]; ok {
		return first, nil
	}
	r.byID[a.id] = a
	return a, r.ending
}

func (r *Runner) forget(a *active) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[a.id] == a {
		delete(r.byID, a.id)
	}
}

func newID() string { return ulid.Make().String() }
