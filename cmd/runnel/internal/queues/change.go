package queues

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
)

func printAny(a *app.App, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "%s\n", body)
	return err
}

func newRmCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "rm ID…",
		Short:   "Remove waiting work: it never starts",
		Example: "  runnel queue rm nightly-7",
		Args:    cobra.MinimumNArgs(1),

		ValidArgsFunction: a.Complete(waitingIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				for _, id := range args {
					run, err := s.Dequeue(ctx, id)
					switch {
					case errors.Is(err, client.ErrNotWaiting) && run != nil:
						return fmt.Errorf("cannot remove %s: it is %s (runnel abort %s ends what runs)", id, run.GetState(), id)
					case err != nil:
						return fmt.Errorf("cannot remove %s: %w", id, err)
					case asJSON:
						err = a.PrintJSON(run)
					default:
						_, err = fmt.Fprintln(a.Out, run.GetId(), run.GetState())
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON, "the records")
	return cmd
}

func newRetryCommand(a *app.App) *cobra.Command {
	var failed bool
	cmd := &cobra.Command{
		Use:     "retry ID… | --failed",
		Short:   "Try failed work once more, whatever its number of attempts is",
		Example: "  runnel queue retry nightly-7\n  runnel queue retry --failed",

		ValidArgsFunction: a.Complete(failedIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if failed == (len(args) > 0) {
				return errors.New("which work? name it, or use --failed for all that has failed")
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				if failed {
					runs, err := s.FailedWork(ctx)
					if err != nil {
						return err
					}
					for _, run := range runs {
						args = append(args, run.GetGroup())
					}
				}
				bar := term.NewProgress(a.Err, a.ErrLook.Beside(a.Look), "runs", int64(len(args)))
				defer bar.Done()
				for _, id := range args {
					attempt, err := s.Retry(ctx, id)
					bar.Add(1)
					if err == nil {
						_, err = fmt.Fprintln(a.Out, attempt)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "all that runnel queue ls --failed lists")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "failed")
	return cmd
}

// newPoolCommand is a command about one pool.
func newPoolCommand(a *app.App, use, short string, do func(context.Context, *app.Session, string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use + " POOL",
		Short:   short,
		Example: "  runnel queue " + use + " default",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: a.Complete(app.Once(app.PoolNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return do(ctx, s, args[0]) })
		},
	}
}

func newPauseCommand(a *app.App) *cobra.Command {
	return newPoolCommand(a, "pause", "Stop starting work of a pool; its runners confirm", func(ctx context.Context, s *app.Session, pool string) error {
		return unconfirmed(s.Pause(ctx, pool, app.UserName()), "paused", "may still start work until it answers")
	})
}

func newResumeCommand(a *app.App) *cobra.Command {
	return newPoolCommand(a, "resume", "End a pause", func(ctx context.Context, s *app.Session, pool string) error {
		return unconfirmed(s.Resume(ctx, pool), "resumed", "takes work again within a minute of its return")
	})
}

// unconfirmed says what it means that runners have not confirmed.
func unconfirmed(err error, what, meaning string) error {
	if e := (*client.UnconfirmedError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%w: the pool is %s, and whoever has not confirmed %s", err, what, meaning)
	}
	return err
}

func newPurgeCommand(a *app.App) *cobra.Command {
	return newPoolCommand(a, "purge", "Remove all waiting work of a pool", func(ctx context.Context, s *app.Session, pool string) error {
		n, err := s.Purge(ctx, pool)
		if err == nil || n > 0 {
			_, printErr := fmt.Fprintln(a.Out, n)
			err = errors.Join(err, printErr)
		}
		return err
	})
}
