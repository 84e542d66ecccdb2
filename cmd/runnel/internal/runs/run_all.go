package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/endings"
	"github.com/runnel-io/runnel/cmd/runnel/internal/output"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// runAll runs a task on every runner that is meant, shows each line with the
// runner's name in front, and sums up.
func (r *runCommand) runAll(ctx context.Context, s *app.Session, req *pb.TaskRequest) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	all := &allRuns{abort: func(ids ...string) { r.end(ctx, s, ids...) }}
	stop := r.heedSignals(leave, all.abortAll)
	defer stop()
	defer all.aborts.Wait()

	show := output.NewMany(output.NewPrinter(r.App, r.asJSON, r.raw), func(err error) {
		if errors.Is(err, syscall.EPIPE) { // as for one run
			all.aborts.Go(all.abortAll)
			return
		}
		leave(err)
	})
	bar := term.NewProgress(r.Stdio.Err, r.ErrLook.Beside(r.Look), "runners", 0)
	fan := r.fan.FanOptions
	fan.Timeout = s.Target.Timeout
	fan.Expected = func(names []string) {
		show.Width = term.Longest(names)
		bar.Total = int64(len(names))
	}
	fan.Enough = all.isAborted
	result, err := s.RunAll(ctx, r.where.Target, req, client.RunAllOptions{FanOptions: fan, RunEvents: client.RunEvents{
		Accepted: func(run *pb.Run) {
			all.add(run.GetId(), func() { _ = show.Started(run) }) // the next write fails, too
		},
		Record: func(run *pb.Run, record lines.Record) error {
			show.Record(run.GetRunner(), record)
			return nil
		},
		Ended: func(o client.Outcome) {
			show.End(o.Run.GetRunner())
			bar.Add(1)
		},
	}})
	bar.Done()
	printing := show.Flush() // it may leave, too
	if interrupted := r.interruption(context.Cause(ctx), printing); interrupted != nil {
		return interrupted
	}
	if err != nil {
		return err
	}
	if err = r.sumUp(result, show.Width); errors.Is(err, client.ErrNoRunners) {
		return r.nobody(ctx, s)
	}
	if exit := (*cli.ExitError)(nil); all.isAborted() && errors.As(err, &exit) {
		exit.Code = cli.ExitAborted
	}
	return err
}

// interruption says why the command did not see its runs to their ends: it was
// left, or could not print. Nil: it did.
func (r *runCommand) interruption(left, printing error) error {
	switch {
	case errors.Is(left, errLeft):
		return &cli.ExitError{Code: cli.ExitAborted, Message: "the runs may go on: runnel ps"}
	case errors.Is(left, errNoEnd):
		return &cli.ExitError{Code: cli.ExitAborted, Message: fmt.Sprintf("the runs were aborted, and not all ends are seen after %s; they may go on: runnel ps", r.endTime())}
	case errors.Is(printing, syscall.EPIPE):
		return &cli.ExitError{Code: endings.BrokenPipe, Message: ""}
	case printing != nil:
		return fmt.Errorf("%w; the runs may go on: runnel ps", printing)
	}
	return nil
}

// allRuns are the runs of a fan-out as they are accepted. Once they were aborted,
// those accepted later are aborted, too.
type allRuns struct {
	abort  func(ids ...string)
	aborts sync.WaitGroup

	mu      sync.Mutex
	ids     []string
	aborted bool
}

func (a *allRuns) abortAll() {
	a.mu.Lock()
	a.aborted = true
	running := slices.Clone(a.ids)
	a.mu.Unlock()
	a.abort(running...)
}

func (a *allRuns) isAborted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.aborted
}

// add takes in a run and calls tell, for one run at a time.
func (a *allRuns) add(id string, tell func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, id)
	tell()
	if a.aborted {
		a.aborts.Go(func() { a.abort(id) })
	}
}

// sumUp tells who is missing, and in one line how it went.
func (r *runCommand) sumUp(result *client.AllResult, width int) error {
	lost, anyBad := false, false
	var good, bad []string
	failed := map[string]string{} // why, by runner
	fail := func(runner, why string) {
		anyBad = true
		if !slices.Contains(result.Unexpected, runner) {
			bad = append(bad, runner)
			failed[runner] = why
		}
	}
	for runner, outcome := range result.Outcomes {
		switch end := outcome.End(); {
		case endings.Code(end) != 0:
			lost = lost || end == nil
			fail(runner, endings.Briefly(end))
		case !slices.Contains(result.Unexpected, runner):
			good = append(good, runner)
		}
	}
	for runner, err := range result.Errors {
		fail(runner, err.Error())
	}
	ok := len(good)
	if r.asJSON {
		slices.Sort(good)
		slices.Sort(bad)
		if err := r.PrintSummary(good, bad, &result.FanLists); err != nil {
			return err
		}
	}
	r.sayMissing(result.Missing, width)
	text := fanSummary(ok, failed, &result.FanLists)
	switch {
	case ok+len(failed)+len(result.Missing)+len(result.Unexpected) == 0:
		return client.ErrNoRunners
	case !result.Complete() || lost:
		return &cli.ExitError{Code: cli.ExitOwn, Message: text}
	case anyBad:
		return &cli.ExitError{Code: 1, Message: text}
	}
	r.Say("%s", text)
	return nil
}

// sayMissing names those that did not answer, and the runs that they may have.
func (r *runCommand) sayMissing(missing []string, width int) {
	for _, runner := range missing {
		fmt.Fprintf(r.Stdio.Err, "%-*s  no answer in %s; run %s-%s may have started, or may still start\n", width, runner, r.Conn.Timeout, r.id, runner)
	}
}

// nobody is the error of a fan-out that no runner was meant by.
func (r *runCommand) nobody(ctx context.Context, s *app.Session) error {
	if r.where.Where == "" {
		return nobodyIn(ctx, s, r.where.Pool, client.ErrNoRunners)
	}
	return client.ErrNoMatch
}

// fanSummary is a fan-out in one line: names with the numbers, the bad news last.
func fanSummary(ok int, failed map[string]string, result *client.FanLists) string {
	parts := []string{fmt.Sprintf("%d ok", ok)}
	for _, group := range []struct {
		count int
		word  string
		who   string
	}{
		{len(result.Skipped), "skipped", app.Names(result.Skipped)}, {len(result.Unexpected), "unexpected", app.Names(result.Unexpected)},
		{len(failed), "failed", app.Causes(failed)}, {len(result.Missing), "missing", app.Names(result.Missing)},
	} {
		if group.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", group.count, group.word, group.who))
		}
	}
	if result.Short > 0 {
		parts = append(parts, fmt.Sprintf("%d fewer than expected", result.Short))
	}
	return term.Plural(ok+len(failed)+len(result.Skipped)+len(result.Unexpected)+len(result.Missing), "runner") + ": " + strings.Join(parts, ", ")
}

// detachAll starts the task everywhere, prints the ids and leaves.
func (r *runCommand) detachAll(ctx context.Context, s *app.Session, req *pb.TaskRequest) error {
	fan := r.fan.FanOptions
	fan.Timeout = s.Target.Timeout
	failed := map[string]string{}
	var result client.FanLists
	for reply, err := range client.FanOut(ctx, s.Client, client.TaskOf(r.where.Target, req), fan) {
		switch {
		case errors.Is(err, client.ErrTooFew):
			return fmt.Errorf("%w; started on: %s", err, app.Names(result.OK))
		case err != nil:
			return err
		}
		result.Add(reply.Runner, reply.State, reply.Err)
		switch {
		case reply.State == client.ReplySkipped, reply.State == client.ReplyMissing:
		case reply.Err != nil:
			failed[reply.Runner] = reply.Err.Error()
		default:
			if err := r.printStarted(reply.Message.GetRun()); err != nil {
				return err
			}
		}
	}
	switch {
	case len(result.OK)+len(failed)+len(result.Missing)+len(result.Unexpected) == 0:
		return r.nobody(ctx, s)
	case result.Complete() && len(failed) == 0:
		return nil
	}
	r.sayMissing(result.Missing, term.Longest(result.Missing))
	return errors.New(fanSummary(len(result.OK), failed, &result))
}
