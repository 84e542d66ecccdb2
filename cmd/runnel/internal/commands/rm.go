package commands

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
		Example: "  runnel rm 01JD3Q8Z\n  runnel rm --older 48h",
		RunE: func(cmd *cobra.Command, args []string) error {
			byAge := cmd.Flags().Changed("older")
			switch {
			case len(args) == 0 && !byAge:
				return errors.New("which run? name it, or use --older")
			case older < 0:
				return fmt.Errorf("cannot use --older %s: it must not be negative", older)
			case !byAge:
				older = -1
			}
			return a.WithSession(cmd.Context(), func(s *app.Session) error { return rm(a, cmd.Context(), s, args, older) })
		},
	}
	cmd.Flags().DurationVar(&older, "older", 0, "every run that ended longer ago than this")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "older")
	return cmd
}

// rm removes the runs that are named and, unless it is negative, those of an age.
func rm(a *app.App, ctx context.Context, s *app.Session, args []string, older time.Duration) error {
	removed := 0
	for _, arg := range args {
		run, err := s.Find(ctx, arg)
		if err == nil {
			err = s.Remove(ctx, run.GetId())
		}
		if err != nil {
			if removed > 0 {
				a.Say("%s removed", term.Plural(removed, "run"))
			}
			if strings.HasPrefix(err.Error(), "cannot remove run ") {
				return err
			}
			return fmt.Errorf("cannot remove run %s: %w", arg, err)
		}
		removed++
	}
	if older >= 0 {
		ids, err := s.RemoveOlder(ctx, older)
		removed += len(ids)
		if err != nil {
			return fmt.Errorf("%s removed, but then: %w", term.Plural(removed, "run"), err)
		}
	}
	a.Say("%s removed", term.Plural(removed, "run"))
	return nil
}
