package hosts

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
)

func newGlancePsCommand(a *app.App) *cobra.Command {
	g := &glanceCommand{App: a}
	var top int64
	var sort string
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "The processes of hosts",
		Example: "  runnel glance ps --top 10 --sort memory --on web1\n  runnel glance ps --top 3 --sort cpu --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				return g.ps(ctx, s, &pb.SysQuery{Enable: true, Top: top, Sort: sort})
			})
		},
	}
	g.addFlags(cmd)
	cmd.Flags().Int64Var(&top, "top", 0, "the first `N` processes of a host (default: all)")
	cmd.Flags().StringVar(&sort, "sort", "pid", "by `KEY`: cpu, memory or pid")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "top", "sort")
	cli.CompleteValues(cmd, "sort", "cpu", "memory", "pid")
	return cmd
}

func (g *glanceCommand) ps(ctx context.Context, s *app.Session, query *pb.SysQuery) error {
	table := g.table("pid", "memory", "cpu time", "threads", "command")
	table.AlignRight("pid", "memory", "cpu time", "threads")
	return g.show(ctx, s, &pb.Glance{Sys: query}, replyTable{table, func(reply *pb.GlanceReply) {
		for _, p := range reply.GetSys().GetStats().GetProcesses() {
			main := p.GetProcess()
			command := main.GetCmdline()
			if command == "" {
				command = "[" + main.GetName() + "]"
			}
			took := time.Duration(main.GetTime() * float64(time.Second))
			g.add(table, reply, main.GetPid(), term.Size(main.GetMemory()), term.ShortDuration(took), len(p.GetThreads())+1, command)
		}
		if missing := reply.GetSys().GetError(); missing != "" {
			g.Say("%s: %s", reply.GetRunner(), term.Printable(missing))
		}
	}})
}

func newGlanceLsCommand(a *app.App) *cobra.Command {
	g := &glanceCommand{App: a}
	cmd := &cobra.Command{
		Use:     "ls PATH",
		Short:   "A directory of hosts",
		Example: "  runnel glance ls /var/log --on web1\n  runnel glance ls /opt --all",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return g.ls(ctx, s, args[0]) })
		},
	}
	g.addFlags(cmd)
	return cmd
}

func (g *glanceCommand) ls(ctx context.Context, s *app.Session, dir string) error {
	table := g.table("mode", "user", "group", "size", "time", "name")
	table.AlignRight("size")
	return g.show(ctx, s, &pb.Glance{Dir: &pb.DirQuery{Path: dir, Limit: app.ListPage}}, replyTable{table, func(reply *pb.GlanceReply) {
		for _, e := range reply.GetDir().GetEntries() {
			g.add(table, reply, e.GetMode(), e.GetUser(), e.GetGroup(), e.GetSize(), e.GetTime(), e.GetName())
		}
	}})
}
