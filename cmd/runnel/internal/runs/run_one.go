package runs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/endings"
	"github.com/runnel-io/runnel/cmd/runnel/internal/output"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// runOne runs a task on one runner and shows its output until its end.
func (r *runCommand) runOne(ctx context.Context, s *app.Session, req *pb.TaskRequest) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	show := output.NewPrinter(r.App, r.asJSON, r.raw)
	accepted := make(chan string, 1) // the runner
	runner := ""
	stop := r.heedSignals(leave, func() {
		select {
		case <-accepted:
			r.end(ctx, s, r.id)
		case <-ctx.Done():
		}
	})
	defer stop()

	outcome, err := s.Run(ctx, r.where.Target, req, client.RunEvents{
		Accepted: func(run *pb.Run) {
			runner = run.GetRunner()
			_ = show.Started(run) // the next write fails, too
			accepted <- runner
		},
		Record: func(_ *pb.Run, record lines.Record) error { return show.Record(record) },
	})
	if printing := show.Flush(); err == nil {
		err = printing
	}
	if err != nil {
		return r.interrupted(ctx, s, runner, err)
	}
	end := outcome.End()
	if end == nil {
		end = r.endWithoutLog(ctx, s)
	}
	if problem := outcome.Log.Problem; problem != nil && end != nil {
		r.Say("the output is not complete: %v", problem)
	}
	return r.exit(end, runner)
}

// exit ends the command as the run has ended.
func (r *runCommand) exit(end *lines.End, runner string) error {
	code, text := endings.Code(end), endings.Complaint(end, runner, r.timeout)
	if code == 0 && text == "" {
		return nil
	}
	return &cli.ExitError{Code: code, Message: text}
}

// endWithoutLog is the end that a run's record tells of, when its log does not:
// its runner was lost.
func (r *runCommand) endWithoutLog(ctx context.Context, s *app.Session) *lines.End {
	run, err := s.Status(ctx, r.id)
	if err != nil {
		return nil
	}
	return endings.Of(run)
}

// interrupted explains why output could not be shown to the end, and says what
// becomes of the run.
func (r *runCommand) interrupted(ctx context.Context, s *app.Session, runner string, err error) error {
	switch left := context.Cause(ctx); {
	case errors.Is(left, errLeft):
		return &cli.ExitError{Code: cli.ExitAborted, Message: r.goesOn(s)}
	case errors.Is(left, errNoEnd):
		return &cli.ExitError{Code: cli.ExitAborted, Message: fmt.Sprintf("the run was aborted, and no end is seen after %s; %s", r.endTime(), r.goesOn(s))}
	case errors.Is(err, syscall.EPIPE):
		// Whoever read our output has enough of it: so has the run, as in a
		// shell's pipe.
		ctx, cancel := context.WithTimeout(ctx, r.endTime())
		defer cancel()
		r.end(ctx, s, r.id)
		return &cli.ExitError{Code: endings.BrokenPipe, Message: ""}
	case runner == "":
		return r.notStarted(ctx, s, err)
	}
	return fmt.Errorf("%w; %s", err, r.goesOn(s))
}

// notStarted explains why nobody has taken the task, as far as that is known: the
// one who was asked may have it, and only the answer is missing.
func (r *runCommand) notStarted(ctx context.Context, s *app.Session, err error) error {
	if !errors.Is(err, client.ErrNoAnswer) {
		return nobodyIn(ctx, s, r.where.Pool, err)
	}
	from := "any runner"
	switch {
	case r.where.On != "":
		from = r.where.On
	case r.where.Pool != "":
		from = "any runner in pool " + r.where.Pool
	}
	return fmt.Errorf("no answer from %s in %s: run %s may have started, or may still start (runnel show %s)", from, r.Conn.Timeout, r.id, r.id)
}

func (r *runCommand) goesOn(s *app.Session) string {
	if s.Target.Private() {
		return "the run ends with this command"
	}
	return "the run may go on: runnel logs -f " + r.id
}

// detachOne starts the task, prints its id and leaves.
func (r *runCommand) detachOne(ctx context.Context, s *app.Session, req *pb.TaskRequest) error {
	run, err := s.Start(ctx, r.where.Target, req)
	if err != nil {
		return r.notStarted(ctx, s, err)
	}
	return r.printStarted(run)
}

func (r *runCommand) printStarted(run *pb.Run) error {
	if r.asJSON {
		return r.PrintJSON(run)
	}
	_, err := fmt.Fprintln(r.Out, run.GetId())
	return err
}
