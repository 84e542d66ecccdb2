package hosts

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/store"
)

// newForgetCommand is `runnel forget`.
func newForgetCommand(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "forget NAME…",
		GroupID: cli.GroupFleet,
		Short:   "Take runners that are gone for good off the list",
		Example: "  runnel forget web3\n  runnel forget web3 web4",
		Args:    cobra.MinimumNArgs(1),

		ValidArgsFunction: a.Complete(app.RunnerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return forget(ctx, a, s, args) })
		},
	}
}

// forget tries all, and tells of those that could not be forgotten.
func forget(ctx context.Context, a *app.App, s *app.Session, names []string) error {
	var ending error
	for _, name := range names {
		err := s.Forget(ctx, name)
		name = term.Printable(name)
		switch {
		case err == nil:
			a.Say("%s is forgotten", name)
			continue
		case errors.Is(err, store.ErrLive):
			a.Say("cannot forget %s: it is online", name)
		case errors.Is(err, store.ErrUnknownRunner):
			a.Say("cannot forget %s: no runner of that name is known (runnel ls)", name)
		default:
			a.Say("%v", err)
		}
		ending = &cli.ExitError{Code: cli.ExitOwn}
	}
	return ending
}
