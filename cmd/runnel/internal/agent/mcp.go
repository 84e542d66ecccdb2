// Package agent has `runnel mcp`: the fleet as tools for an agent.
package agent

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/mcp"
)

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var readOnly bool
	cmd := &cobra.Command{
		Use:     "mcp",
		GroupID: cli.GroupServe,
		Short:   "Serve the fleet as tools for an agent, on stdin and stdout",
		Long: `Serve the fleet as tools for an agent (Model Context Protocol), on standard
input and output. An agent starts this command itself. What the tools may do is
what the NATS user may do that this command connects as.`,
		Example: `  runnel mcp                     all tools
  runnel mcp --read-only         only those that change nothing
  runnel --context prod mcp      another fleet`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), a, readOnly) },
	}
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "leave only the tools that change nothing")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "read-only")
	cli.BindEnvAll(cmd)
	return cmd
}

func serve(ctx context.Context, a *app.App, readOnly bool) error {
	if err := a.SetLogger(slog.LevelWarn); err != nil {
		return err
	}
	// A tool says itself what its caller may not do, and the others go on.
	a.Conn.Denied = func(err *connect.DeniedError, _ bool) {
		a.Log.Debug("the NATS server has refused something", "error", err)
	}
	ctx, stop := cli.OnInterrupt(ctx)
	defer stop()
	return a.WithSession(ctx, func(ctx context.Context, s *app.Session) error {
		server := mcp.New(mcp.Config{Client: s.Client, Version: service.Version, ReadOnly: readOnly, Logger: a.Log})
		return server.Serve(ctx, a.In, a.Out)
	})
}
