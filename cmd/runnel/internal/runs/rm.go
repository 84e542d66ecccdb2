package runs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
)

// newRmCommand is `runnel rm`.
func newRmCommand(a *app.App) *cobra.Command {
	var older time.Duration
	cmd := &cobra.Command{
		Use:     "rm RUN…",
		GroupID: cli.GroupRun,
		Short:   "Remove the output and the record of runs that have ended",
		Example: "  runnel rm 01JD3Q8Z          the beginning of an id that runnel made\n  runnel rm deploy-1          an id of your own, in full\n  runnel rm --older 48h",
		RunE: func(cmd *cobra.Command, args []string) error {
			byAge := cmd.Flags().Changed("older")
			switch {
			case len(args) == 0 && !byAge:
				return errors.New("which run? name it, or use --older")
			case len(args) > 0 && byAge:
				return errors.New("cannot use ids together with --older: it removes every run of that age")
			case older < 0:
				return fmt.Errorf("cannot use --older %s: it must not be negative", older)
			case !byAge:
				older = -1
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return rm(ctx, s, args, older) })
		},
	}
	cmd.ValidArgsFunction = a.Complete(runIDs(finalStates...))
	cmd.Flags().DurationVar(&older, "older", 0, "every run that ended longer ago than this")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "older")
	return cmd
}

// rm removes the runs that are named or, unless it is negative, those of an age. It
// prints the id of each that is gone.
func rm(ctx context.Context, s *app.Session, args []string, older time.Duration) error {
	var ids []string
	for _, arg := range args { // all are found before one is removed
		run, err := findExactly(ctx, s, arg)
		if err != nil {
			return fmt.Errorf("cannot remove run %s: %w", arg, err)
		}
		ids = append(ids, run.GetId())
	}
	removed := 0
	for _, id := range ids {
		if err := s.Remove(ctx, id); err != nil {
			if removed > 0 {
				s.App.Say("%s removed", term.Plural(removed, "run"))
			}
			if strings.HasPrefix(err.Error(), "cannot remove run ") {
				return err
			}
			return fmt.Errorf("cannot remove run %s: %w", id, err)
		}
		fmt.Fprintln(s.App.Out, id)
		removed++
	}
	if older >= 0 {
		bar := term.NewProgress(s.App.Err, s.App.ErrLook.Beside(s.App.Look), "runs", 0)
		ids, err := s.RemoveOlder(ctx, older, func(id string, of int) {
			bar.Total = int64(of)
			bar.Add(1)
			fmt.Fprintln(s.App.Out, id)
		})
		bar.Done()
		removed += len(ids)
		if err != nil {
			return fmt.Errorf("%s removed, but then: %w", term.Plural(removed, "run"), err)
		}
	}
	s.App.Say("%s removed", term.Plural(removed, "run"))
	return nil
}
