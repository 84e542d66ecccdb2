package schedules

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

func newListCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the schedules, when each is due, and how its last run went",
		Example: "  runnel schedule ls\n  runnel schedule ls --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				all, err := s.Schedules(ctx)
				if err != nil {
					return err
				}
				table := term.NewTable(a.Look, "schedule", "when", "next", "last", "state", "where")
				table.GiveWay("where", "when")
				now := time.Now()
				for _, one := range all {
					if asJSON {
						if err := printSchedule(a, one); err != nil {
							return err
						}
						continue
					}
					last, state, err := lastOf(ctx, s, one, now)
					if err != nil {
						return err
					}
					due := any(in(now, next(one, now)))
					if one.Over(now) {
						due = term.Painted{Colour: term.Faint, Text: "over"}
					} else if one.Paused != nil {
						due = term.Painted{Colour: term.Yellow, Text: "paused"}
					}
					table.Add(one.Name, term.Printable(when(one)), due, last, state, term.Printable(target(one)))
				}
				if asJSON {
					return nil
				}
				if len(all) == 0 {
					a.Say("no schedules (runnel schedule add --help)")
					return nil
				}
				return table.Write(a.Out)
			})
		},
	}
	jsonFlag(cmd, &asJSON, "the schedules")
	return cmd
}

// lastOf says when a schedule's last record was made, and what it says.
func lastOf(ctx context.Context, s *app.Session, one client.Schedule, now time.Time) (string, any, error) {
	if one.Pipeline != "" {
		jobs, _ := jobsOf(ctx, s, one, 1) // without an engine nobody can tell
		if len(jobs) == 0 {
			return "-", "-", nil
		}
		return term.Ago(now, jobs[0].GetCreated().AsTime()), jobOutcome(jobs[0]), nil
	}
	runs, err := s.ScheduleRuns(ctx, one.Name, 1)
	if err != nil || len(runs) == 0 {
		return "-", "-", err
	}
	return term.Ago(now, runs[0].GetCreated().AsTime()), outcome(runs[0]), nil
}

// outcome is how a tick went, in a word and its colour.
func outcome(r *pb.Run) term.Painted {
	switch {
	case r.GetReason() == pb.ReasonSkipped:
		return term.Painted{Colour: term.Faint, Text: "skipped"}
	case r.GetMissed() > 0:
		return term.Painted{Colour: term.Yellow, Text: fmt.Sprintf("missed %d", r.GetMissed())}
	case r.GetState() == pb.State_COMPLETE && r.GetExitCode() == 0 && r.GetSignal() == "":
		return term.Painted{Colour: term.Green, Text: "ok"}
	case r.GetState() == pb.State_COMPLETE && r.GetSignal() == "":
		return term.Painted{Colour: term.Red, Text: fmt.Sprintf("exit %d", r.GetExitCode())}
	case r.GetEnded() == nil:
		return term.Painted{Colour: term.Faint, Text: "running"}
	}
	return term.Painted{Colour: term.Red, Text: r.GetReason()}
}

func newShowCommand(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Print a schedule as JSON",
		Example:           "  runnel schedule show nightly",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: names(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				one, err := s.GetSchedule(ctx, args[0])
				if err != nil {
					return advise(err)
				}
				return printSchedule(a, one)
			})
		},
	}
}

// newNameCommand is a command about one schedule.
func newNameCommand(a *app.App, use, short string, do func(context.Context, *app.Session, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               use + " NAME",
		Short:             short,
		Example:           "  runnel schedule " + use + " nightly",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: names(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				return advise(do(ctx, s, args[0]))
			})
		},
	}
}

func newPauseCommand(a *app.App) *cobra.Command {
	return newNameCommand(a, "pause", "Skip a schedule's ticks until it is resumed", func(ctx context.Context, s *app.Session, name string) error {
		_, err := s.PauseSchedule(ctx, name, app.UserName())
		return err
	})
}

func newResumeCommand(a *app.App) *cobra.Command {
	return newNameCommand(a, "resume", "End a pause; its ticks are not made up for", func(ctx context.Context, s *app.Session, name string) error {
		_, err := s.ResumeSchedule(ctx, name)
		return err
	})
}

func newRunCommand(a *app.App) *cobra.Command {
	return newNameCommand(a, "run", "Queue a schedule's task now, beside its ticks, and print the id", func(ctx context.Context, s *app.Session, name string) error {
		id, err := s.FireSchedule(ctx, name)
		if err == nil {
			_, err = fmt.Fprintln(a.Out, id)
		}
		return err
	})
}

func newRemoveCommand(a *app.App) *cobra.Command {
	return newNameCommand(a, "rm", "Remove a schedule; what it has started goes on", func(ctx context.Context, s *app.Session, name string) error {
		return s.RemoveSchedule(ctx, name)
	})
}
