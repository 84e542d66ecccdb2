// Package queues has `runnel queue`: the durable queue and what waits in it.
package queues

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// NewCommand is `runnel queue`.
func NewCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "queue",
		GroupID: cli.GroupRun,
		Short:   "Look at the durable queue, pause it, and remove or retry work",
		Example: "  runnel run --queue -- make nightly    put work in\n  runnel queue ls\n  runnel queue pause default",
		Args:    cli.KnownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLsCommand(a), newShowCommand(a), newRmCommand(a), newRetryCommand(a),
		newPauseCommand(a), newResumeCommand(a), newPurgeCommand(a))
	return cmd
}

func jsonFlag(cmd *cobra.Command, asJSON *bool, what string) {
	cmd.Flags().BoolVar(asJSON, "json", false, what+", one JSON object a line")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
}

func newLsCommand(a *app.App) *cobra.Command {
	var asJSON, failed bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "Count what waits and runs, by pool and priority",
		Example: "  runnel queue ls\n  runnel queue ls --failed    work that can be tried again",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				if failed {
					return listFailed(ctx, s, asJSON)
				}
				return list(ctx, s, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "work whose last attempt has failed, newest first")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "failed")
	jsonFlag(cmd, &asJSON, "the lines")
	return cmd
}

func list(ctx context.Context, s *app.Session, asJSON bool) error {
	lines, err := s.Queue(ctx)
	if err != nil {
		return err
	}
	conflicts, err := s.QueueConflicts(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printList(s.App, lines, conflicts)
	}
	table := term.NewTable(s.App.Look, "pool", "priority", "waiting", "running", "oldest", "")
	table.AlignRight("waiting", "running", "oldest")
	for _, l := range lines {
		oldest, note := "-", ""
		if l.Waiting > 0 {
			oldest = term.ShortDuration(time.Duration(l.OldestSeconds * float64(time.Second)))
		}
		if l.Paused {
			note = "paused"
			if l.PausedBy != "" {
				note += " by " + term.Printable(l.PausedBy)
			}
		}
		table.Add(l.Pool, l.Priority, l.Waiting, l.Running, oldest, note)
	}
	if err := table.Write(s.App.Out); err != nil {
		return err
	}
	for _, c := range conflicts {
		s.App.Say("conflict: %s in pool %s, priority %s, was dropped: another request had its id", c.ID, c.Pool, c.Priority)
	}
	return nil
}

func printList(a *app.App, lines []client.QueueLine, conflicts []client.QueueConflict) error {
	for _, l := range lines {
		if err := printAny(a, l); err != nil {
			return err
		}
	}
	for _, c := range conflicts {
		if err := printAny(a, map[string]any{"conflict": c}); err != nil {
			return err
		}
	}
	return nil
}

func listFailed(ctx context.Context, s *app.Session, asJSON bool) error {
	failed, err := s.FailedWork(ctx)
	if err != nil {
		return err
	}
	table := term.NewTable(s.App.Look, "work", "attempts", "state", "reason", "ended", "pool", "name", "error")
	table.AlignRight("attempts")
	table.GiveWay("error", "name")
	now := time.Now()
	for _, run := range failed {
		if asJSON {
			if err := s.App.PrintJSON(run); err != nil {
				return err
			}
			continue
		}
		table.Add(run.GetGroup(), run.GetAttempt(), run.GetState().String(), run.GetReason(), term.Ago(now, run.GetEnded().AsTime()),
			run.GetQueued().GetPool(), term.Printable(run.GetName()), term.Printable(how(run)))
	}
	if asJSON {
		return nil
	}
	return table.Write(s.App.Out)
}

// how is what an attempt's state and reason don't say: why it waits, or has failed.
func how(run *pb.Run) string {
	switch {
	case run.GetQueued().GetWhy() != "":
		return run.GetQueued().GetWhy()
	case run.GetError() != "":
		return run.GetError()
	case run.GetSignal() != "":
		return run.GetSignal()
	case run.GetExitCode() != 0:
		return fmt.Sprintf("exit %d", run.GetExitCode())
	}
	return ""
}

func newShowCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show the attempts of work, and the one that it waits for",
		Example: "  runnel queue show nightly-7",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: a.Complete(app.Once(workIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return show(ctx, s, args[0], asJSON) })
		},
	}
	jsonFlag(cmd, &asJSON, "the records")
	return cmd
}

func show(ctx context.Context, s *app.Session, id string, asJSON bool) error {
	id = pb.WorkOf(id)
	attempts, err := s.Attempts(ctx, id)
	if err != nil && !errors.Is(err, client.ErrUnknownRun) {
		return err
	}
	whole, err := s.Whole(ctx, id)
	if err != nil {
		return err
	}
	if whole.GetQueued() == nil {
		return fmt.Errorf("run %s did not come from the queue (runnel show %s)", id, id)
	}
	if client.IsWaiting(whole) {
		if err := s.ExplainWaiting(ctx, whole); err != nil {
			return err
		}
		attempts = append(attempts, whole)
	}
	table := term.NewTable(s.App.Look, "attempt", "run", "state", "runner", "since", "")
	table.GiveWay("")
	now := time.Now()
	for _, run := range attempts {
		if asJSON {
			if err := s.App.PrintJSON(run); err != nil {
				return err
			}
			continue
		}
		table.Add(run.GetAttempt(), run.GetId(), run.GetState().String(), term.Dash(run.GetRunner()), term.Ago(now, run.GetCreated().AsTime()), term.Printable(how(run)))
	}
	if asJSON {
		return nil
	}
	s.App.Say("%s: pool %s, priority %s, retries %d", id, whole.GetQueued().GetPool(), whole.GetQueued().GetPriority(), whole.GetQueued().GetRetries())
	return table.Write(s.App.Out)
}
