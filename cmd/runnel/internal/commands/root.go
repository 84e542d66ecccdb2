package commands

import (
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/agent"
	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/bench"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/hosts"
	"github.com/runnel-io/runnel/cmd/runnel/internal/pipelines"
	"github.com/runnel-io/runnel/cmd/runnel/internal/queues"
	"github.com/runnel-io/runnel/cmd/runnel/internal/runs"
	"github.com/runnel-io/runnel/cmd/runnel/internal/schedules"
	"github.com/runnel-io/runnel/cmd/runnel/internal/serve"
	"github.com/runnel-io/runnel/cmd/runnel/internal/web"
)

func newRoot(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "runnel",
		Short: "Run commands, look at hosts and keep clocks right across a fleet, over NATS",
		Example: `  runnel run -- echo hello        with no server: all inside this command
  runnel serve                    a runner on this machine, with NATS built in
  runnel run --all -- uptime      on every runner, from another terminal`,
		Args:              cli.KnownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true, // main reports them
		SilenceUsage:      true,
		TraverseChildren:  true, // `runnel --timeout 2s run --timeout 1h` is two things
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.Prepare(cmd) },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.AddGroup(
		&cobra.Group{ID: cli.GroupRun, Title: "Runs"},
		&cobra.Group{ID: cli.GroupFleet, Title: "The fleet"},
		&cobra.Group{ID: cli.GroupServe, Title: "Servers"},
		&cobra.Group{ID: cli.GroupOther, Title: "Other"},
	)
	a.AddGlobalFlags(root)
	root.AddCommand(runs.Commands(a)...)
	root.AddCommand(queues.NewCommand(a), schedules.NewCommand(a))
	root.AddCommand(pipelines.NewCommand(a))
	root.AddCommand(hosts.Commands(a)...)
	root.AddCommand(
		bench.NewCommand(a),
		serve.NewCommand(a),
		web.NewCommand(a),
		agent.NewCommand(a),
		newVersionCommand(a),
	)
	addCompletion(root, a)
	addMan(root)
	cli.StyleHelp(root)
	return root
}
