package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/endings"
	"github.com/runnel-io/runnel/cmd/runnel/internal/output"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/logs"
)

// logsCommand is `runnel logs`: the output of a run, now or later.
type logsCommand struct {
	*app.App
	follow, asJSON, raw bool
	stream, since, out  string
	from, tail          int64
	attempt             string
}

func newLogsCommand(a *app.App) *cobra.Command {
	l := &logsCommand{App: a}
	cmd := &cobra.Command{
		Use:     "logs [flags] ID",
		GroupID: cli.GroupRun,
		Short:   "Print a run's output, while it runs or afterwards",
		Example: `  runnel logs 01JD3Q8Z                           a beginning of the id is enough
  runnel logs -f --tail 20 01JD3Q8Z              until the run ends
  runnel logs 01JD3Q8Z --stream stderr -o errors.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("from") && l.from < 1 {
				return fmt.Errorf("cannot use --from %d: lines are numbered from 1", l.from)
			}
			if cmd.Flags().Changed("tail") && l.tail < 1 {
				return fmt.Errorf("cannot use --tail %d: it is how many last lines to print", l.tail)
			}
			if l.tail > 0 && (l.from > 0 || l.since != "") {
				return errors.New("cannot use --tail together with --from or --since: each says where to begin")
			}
			return l.run(cmd.Context(), args[0])
		},
	}
	cmd.ValidArgsFunction = a.Complete(app.Once(runIDs()))
	flags := cmd.Flags()
	flags.BoolVarP(&l.follow, "follow", "f", false, "go on until the run ends")
	flags.StringVar(&l.stream, "stream", "", "only `stdout|stderr`")
	flags.Int64Var(&l.from, "from", 0, "begin at line `N`")
	flags.Int64Var(&l.tail, "tail", 0, "begin `N` lines before the end of the present output")
	flags.StringVar(&l.since, "since", "", "begin at a `TIME`: 10m (ago) or 2006-01-02T15:04:05Z")
	flags.StringVar(&l.attempt, "attempt", "", "of queued work, the attempt `N`, or all (default the last)")
	cli.Group(flags, cli.FlagsWhat, "follow", "stream", "from", "tail", "since", "attempt")
	cli.CompleteValues(cmd, "stream", lines.Stdout.String(), lines.Stderr.String())
	flags.StringVarP(&l.out, "output", "o", "", "write the exact bytes of both streams to `FILE`; - is stdout")
	flags.BoolVar(&l.asJSON, "json", false, "print the records, one JSON object a line")
	flags.BoolVar(&l.raw, "raw", false, "print the exact bytes and nothing else")
	cli.Group(flags, cli.FlagsOutput, "output", "json", "raw")
	return cmd
}

func (l *logsCommand) options(now time.Time) (client.FollowOptions, error) {
	opts := client.FollowOptions{Live: l.follow, FromPos: l.from, Tail: l.tail}
	switch l.stream {
	case "":
	case lines.Stdout.String():
		opts.Streams = []lines.Stream{lines.Stdout}
	case lines.Stderr.String():
		opts.Streams = []lines.Stream{lines.Stderr}
	default:
		return opts, fmt.Errorf("cannot use --stream %q: it is stdout or stderr", l.stream)
	}
	if l.asJSON && l.raw {
		return opts, errors.New("cannot print both records and exact bytes: --json or --raw")
	}
	if l.since == "" {
		return opts, nil
	}
	if d, err := time.ParseDuration(l.since); err == nil {
		opts.Since = now.Add(-d)
		return opts, nil
	}
	t, err := time.Parse(time.RFC3339, l.since)
	if err != nil {
		return opts, fmt.Errorf("cannot use --since %q: it is a duration such as 10m or a time such as %s", l.since, now.UTC().Format(time.RFC3339))
	}
	opts.Since = t
	return opts, nil
}

func (l *logsCommand) run(ctx context.Context, id string) error {
	opts, err := l.options(time.Now())
	if err != nil {
		return err
	}
	return l.WithSession(ctx, func(ctx context.Context, s *app.Session) error { return l.print(ctx, s, id, opts) })
}

func (l *logsCommand) print(ctx context.Context, s *app.Session, id string, opts client.FollowOptions) (err error) {
	runs, err := l.attempts(ctx, s, id)
	if err != nil {
		return err
	}
	show := output.NewPrinter(l.App, l.asJSON, l.raw)
	switch l.out {
	case "":
	case "-":
		show.Redirect(l.Stdio.Out)
	default:
		file, err := os.Create(l.out)
		if err != nil {
			return fmt.Errorf("cannot write to %s: %w", l.out, cli.Cause(err))
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		show.Redirect(file)
	}
	follow := func(run *pb.Run) error {
		bar := l.progress(run)
		result, err := s.Follow(ctx, run, opts, func(r lines.Record) error {
			bar.Add(int64(len(r.Text)))
			return show.Record(r)
		})
		bar.Done()
		if printing := show.Flush(); err == nil {
			err = printing
		}
		if err != nil {
			return err
		}
		return l.conclude(run, result)
	}
	if last := runs[len(runs)-1]; l.follow && l.attempt == "" && last.GetQueued() != nil && last.GetAttempt() <= 1 {
		_, err := s.FollowWhole(ctx, last.GetGroup(), follow)
		return err
	}
	for _, run := range runs {
		if client.IsWaiting(run) {
			l.Say("PENDING in the queue: it has printed nothing yet; runnel logs -f %s waits for it", run.GetGroup())
			return nil
		}
		if err := follow(run); err != nil {
			return err
		}
	}
	return nil
}

// progress is of what goes into a file: elsewhere the output itself shows it.
func (l *logsCommand) progress(run *pb.Run) *term.Progress {
	look := l.ErrLook
	look.Terminal = look.Terminal && l.out != "" && l.out != "-"
	bar := term.NewProgress(l.Err, look, term.Bytes, 0)
	if l.isWhole() && l.stream == "" {
		bar.Total = run.GetBytes()
	}
	return bar
}

// isWhole says whether the output is wanted from its beginning.
func (l *logsCommand) isWhole() bool { return l.from <= 1 && l.tail == 0 && l.since == "" }

// attempts are the runs whose output is meant.
func (l *logsCommand) attempts(ctx context.Context, s *app.Session, id string) ([]*pb.Run, error) {
	if l.attempt == "" {
		run, err := s.FindWhole(ctx, id)
		return []*pb.Run{run}, err
	}
	run, err := s.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	if run.GetQueued() == nil {
		return nil, fmt.Errorf("cannot use --attempt: run %s did not come from the queue", run.GetId())
	}
	if l.attempt == "all" {
		return s.Attempts(ctx, run.GetGroup())
	}
	n, err := strconv.Atoi(l.attempt)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("cannot use --attempt %q: it is a number from 1, or all", l.attempt)
	}
	run, err = s.Attempt(ctx, run.GetGroup(), n)
	return []*pb.Run{run}, err
}

// conclude tells what the log was like. Text that is missing is an error,
// whoever reads only standard output has to learn of it.
func (l *logsCommand) conclude(run *pb.Run, result logs.FollowResult) error {
	switch {
	case result.Truncated && l.isWhole():
		return errors.New("the beginning of this output has been removed: it was older, or more, than is kept")
	case result.Missing > 0:
		return fmt.Errorf("%s of this output are missing", term.Plural(int(result.Missing), "message"))
	case result.Problem != nil && l.isWhole():
		return fmt.Errorf("this output is not complete: %w", result.Problem)
	case l.raw:
		return nil
	case result.End == nil:
		l.Say("%s; more may come: runnel logs -f %s", run.GetState(), run.GetId())
		return nil
	}
	text := endings.Summary(result.End)
	switch {
	case result.End.Reason == pb.ReasonLost:
		text += "; what it printed last may be missing"
	case result.Verified:
		text += ", sha256 verified"
	}
	l.Say("%s", text)
	return nil
}
