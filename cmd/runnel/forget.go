package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/service/store"
)

// newForgetCommand is `runnel forget`.
func newForgetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "forget NAME…",
		GroupID: groupFleet,
		Short:   "Take runners that are gone for good off the list",
		Example: "  runnel forget web3\n  runnel forget web3 web4",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSession(cmd.Context(), func(s *session) error { return a.forget(cmd.Context(), s, args) })
		},
	}
}

// forget tries all, and tells of those that could not be forgotten.
func (a *app) forget(ctx context.Context, s *session, names []string) error {
	var ending error
	for _, name := range names {
		err := s.Forget(ctx, name)
		name = printable(name)
		switch {
		case err == nil:
			a.say("%s is forgotten", name)
			continue
		case errors.Is(err, store.ErrLive):
			a.say("cannot forget %s: it is online", name)
		case errors.Is(err, store.ErrUnknownRunner):
			a.say("cannot forget %s: no runner of that name is known (runnel ls)", name)
		default:
			a.say("%v", err)
		}
		ending = &exitError{code: exitOwn}
	}
	return ending
}
