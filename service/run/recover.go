package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/store"
)

// Recover ends what an earlier life of this runner left: its processes are
// killed, its spools sent, its logs closed, its runs marked lost, its temporary
// files removed. It must return before the first Admit.
func (r *Runner) Recover(ctx context.Context) error {
	if err := r.cfg.Host.Sweep(); err != nil {
		return fmt.Errorf("cannot end what an earlier runner left: %w", err)
	}
	r.removeDirs()
	if err := os.MkdirAll(filepath.Dir(r.spoolPath("x")), 0o700); err != nil {
		return fmt.Errorf("cannot make the directory for spools: %w", err)
	}
	runs, err := r.cfg.Store.Live(ctx, r.cfg.Name)
	if err != nil {
		return fmt.Errorf("cannot read the runs of an earlier runner: %w", err)
	}
	if err := r.loseAll(ctx, runs); err != nil {
		return err
	}
	return r.removeSpools()
}

// loseAll closes the runs, a few at a time.
func (r *Runner) loseAll(ctx context.Context, runs []*pb.Run) error {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	errs := make([]error, len(runs))
	for i, run := range runs {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			errs[i] = r.lose(ctx, run)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lose ends a run of an earlier life of this runner: its processes are gone, its
// spool is here.
func (r *Runner) lose(ctx context.Context, run *pb.Run) error {
	end := lostEnd("its runner stopped while it was " + run.GetState().String())
	stored, err := logs.Resume(ctx, r.logConfig(run), end)
	if err != nil {
		return fmt.Errorf("cannot complete the log of run %s: %w", run.GetId(), err)
	}
	// A log that had its end already tells how the run ended: only the record is
	// late. Of one that is closed here, what was in memory is gone.
	_, err = r.record(ctx, run.GetId(), func(run *pb.Run) { fillFrom(run, stored) })
	return err
}

// MarkLost ends a run of another runner that is gone: its log is closed, so
// that nobody can write into it any more, and its record says lost. What that
// runner had in its spool is missing.
func (r *Runner) MarkLost(ctx context.Context, run *pb.Run) error {
	_, err := r.closeLost(ctx, run.GetId(), lostEnd("its runner "+run.GetRunner()+" is gone"))
	return err
}

// closeLost closes a run's log, unless that has its end, and makes the record
// say what that end says. From the log's end on there is no way back: not even
// if the run's runner is.
func (r *Runner) closeLost(ctx context.Context, id string, end lines.End) (*pb.Run, error) {
	run, _, err := r.cfg.Store.Get(ctx, id)
	if err != nil || store.Final(run.GetState()) {
		return run, err
	}
	stored, err := logs.CloseLost(ctx, r.cfg.JS, run.GetLogSubject(), end)
	if err != nil {
		return nil, fmt.Errorf("cannot close the log of run %s: %w", id, err)
	}
	return r.record(ctx, id, func(run *pb.Run) { fillFrom(run, stored) })
}

// recordTries is for a record that its runner moves while it is being closed.
const recordTries = 5

// record makes a record final whose log has its end, unless it is final already,
// and returns it as it is then.
func (r *Runner) record(ctx context.Context, id string, change func(*pb.Run)) (*pb.Run, error) {
	for try := 1; ; try++ {
		run, rev, err := r.cfg.Store.Get(ctx, id)
		if err != nil || store.Final(run.GetState()) {
			return run, err
		}
		change(run)
		_, err = r.cfg.Store.Update(ctx, run, rev)
		switch {
		case err == nil:
			r.ended(run)
			return run, nil
		case !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrFinal), try == recordTries:
			return nil, err
		}
		sleep(ctx, firstRetry)
	}
}

func lostEnd(why string) lines.End {
	return lines.End{State: pb.State_FAILED.String(), Reason: pb.ReasonLost, Error: "lost: " + why}
}

// fillFrom takes over what an EOF record says.
func fillFrom(run *pb.Run, end lines.End) {
	run.State, run.Reason, run.Error = pb.State(pb.State_value[end.State]), end.Reason, end.Error
	run.ExitCode, run.Signal, run.Aborting = end.ExitCode, end.Signal, false
	run.Ended = timestamppb.Now()
	run.Lines, run.Bytes, run.Sha256 = end.Lines, end.Bytes, end.SHA256
	run.Dropped, run.DroppedBytes = end.Dropped.Lines, end.Dropped.Bytes
	run.LogComplete = end.Reason != pb.ReasonLost
	run.Next = run.NextAttempt()
}

// removeSpools removes those of runs that are final: what they hold is stored.
func (r *Runner) removeSpools() error {
	dir := filepath.Dir(r.spoolPath("x"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read the directory of spools: %w", err)
	}
	for _, e := range entries {
		_ = os.Remove(filepath.Join(dir, e.Name()))
	}
	return nil
}
