package runs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/endings"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// newWaitCommand is `runnel wait`.
func newWaitCommand(a *app.App) *cobra.Command {
	var (
		state  string
		asJSON bool
		atMost time.Duration
	)
	cmd := &cobra.Command{
		Use:     "wait RUN…",
		GroupID: cli.GroupRun,
		Short:   "Wait for runs to end; exit with the first code that is not 0",
		Example: "  runnel wait 01JD3Q8Z\n  runnel wait --for RUNNING --at-most 30s 01JD3Q8Z",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("at-most") && atMost <= 0 {
				return fmt.Errorf("cannot use --at-most %s: it must be more than 0", atMost)
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				cancel := context.CancelFunc(func() {})
				if atMost > 0 {
					ctx, cancel = context.WithTimeoutCause(ctx, atMost, notYet(state, atMost))
				}
				defer cancel()
				return waitFor(ctx, s, args, waitOptions{state, asJSON})
			})
		},
	}
	cmd.ValidArgsFunction = a.Complete(runIDs(liveStates...))
	flags := cmd.Flags()
	flags.StringVar(&state, "for", "", "wait for this `STATE`, such as RUNNING (default: any final one)")
	flags.DurationVar(&atMost, "at-most", 0, "give up after this long")
	cli.Group(flags, cli.FlagsWhat, "for", "at-most")
	completeStates(cmd, "for")
	flags.BoolVar(&asJSON, "json", false, "the records, one JSON object a line")
	cli.Group(flags, cli.FlagsOutput, "json")
	return cmd
}

func notYet(state string, waited time.Duration) error {
	if state == "" {
		return fmt.Errorf("it has not ended in %s", waited)
	}
	return fmt.Errorf("it was not %s in %s", strings.ToUpper(state), waited)
}

// waitOptions say which state is waited for, "" being any final one, and how runs are printed.
type waitOptions struct {
	state  string
	asJSON bool
}

func waitFor(ctx context.Context, s *app.Session, args []string, opts waitOptions) error {
	var states []pb.State
	if opts.state != "" {
		n, ok := pb.State_value[strings.ToUpper(opts.state)]
		if !ok {
			return fmt.Errorf("there is no state %q: it is one of PENDING, RUNNING, COMPLETE, FAILED, ABORTED, TIMEDOUT", opts.state)
		}
		states = []pb.State{pb.State(n)}
	}
	code := 0
	bar := term.NewProgress(s.App.Err, s.App.ErrLook.Beside(s.App.Look), "runs", int64(len(args)))
	defer bar.Done()
	for _, arg := range args {
		run, err := s.Find(ctx, arg)
		if err == nil {
			id := run.GetId()
			if client.IsWaiting(run) {
				id = run.GetGroup()
			}
			run, err = s.Wait(ctx, id, states...)
		}
		if err != nil {
			return fmt.Errorf("cannot wait for run %s: %w", arg, err)
		}
		bar.Add(1)
		if opts.asJSON {
			err = s.App.PrintJSON(run)
		} else {
			_, err = fmt.Fprintln(s.App.Out, run.GetId(), sentence(run))
		}
		if err != nil {
			return err
		}
		if code == 0 && store.Final(run.GetState()) {
			code = endings.Code(endings.Of(run))
		}
	}
	if code != 0 {
		return &cli.ExitError{Code: code}
	}
	return nil
}
