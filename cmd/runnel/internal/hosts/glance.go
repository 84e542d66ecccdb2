package hosts

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// glanceCommand is `runnel glance`: a look at hosts. The looks have a file each.
type glanceCommand struct {
	*app.App
	json  bool
	where app.TargetFlags
	fan   app.FanFlags
}

func newGlanceCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "glance",
		GroupID: cli.GroupFleet,
		Short:   "Look at hosts: their system, processes, directories, files",
		Example: `  runnel glance sys --all
  runnel glance ls /var/log --on web1
  runnel glance cat /etc/hostname --on web1
  runnel glance ps --top 10 --sort cpu`,
		Args: cli.KnownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGlanceSysCommand(a), newGlancePsCommand(a), newGlanceLsCommand(a), newGlanceCatCommand(a))
	return cmd
}

func (g *glanceCommand) addFlags(cmd *cobra.Command) {
	g.where.Add(g.App, cmd)
	g.fan.Add(cmd)
	cmd.Flags().BoolVar(&g.json, "json", false, "the replies, one JSON object a line")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
	cmd.PreRunE = g.check
}

// check refuses flags that don't go together.
func (g *glanceCommand) check(*cobra.Command, []string) error { return g.fan.Check(g.where.Target) }

// ask asks one runner, or with --all each one, and then for the further pages
// of every answer. Each gets all the replies, a runner's together, the runners
// in order; end says how it went, after what was shown.
func (g *glanceCommand) ask(ctx context.Context, s *app.Session, query *pb.Glance, each func(*pb.GlanceReply) error) (end func() error, err error) {
	nothing := func() error { return nil }
	pages := g.pages(ctx, s, query, each)
	if !g.where.All {
		reply, err := s.Glance(ctx, g.where.Target, query)
		if err != nil {
			return nothing, err
		}
		return nothing, pages(reply)
	}
	opts, done := g.FanProgress(g.fan.FanOptions)
	result, err := s.GlanceAll(ctx, g.where.Target, query, opts)
	done()
	if err != nil {
		return nothing, err
	}
	for _, name := range term.SortedKeys(result.Answers) {
		if result.Answers[name].Err != nil {
			continue
		}
		if err := pages(result.Answers[name].Message); err != nil {
			return nothing, fmt.Errorf("%s: %w", name, err)
		}
	}
	return func() error {
		if g.json {
			if err := app.PrintReplies(g.App, result, result.Failed); err != nil {
				return err
			}
			if err := g.PrintLists(&result.FanLists); err != nil {
				return err
			}
		}
		return g.SayFan(&result.FanLists)
	}, nil
}

// pages returns a function that hands on a reply and asks its runner for those that follow it.
func (g *glanceCommand) pages(
	ctx context.Context, s *app.Session, query *pb.Glance, each func(*pb.GlanceReply) error,
) func(first *pb.GlanceReply) error {
	if g.json {
		each = func(reply *pb.GlanceReply) error { return g.PrintJSON(reply) }
	}
	return func(reply *pb.GlanceReply) error {
		query := proto.CloneOf(query)
		for {
			if err := each(reply); err != nil {
				return err
			}
			switch {
			case reply.GetDir().GetNext() != "":
				query.Dir.Next = reply.GetDir().GetNext()
			case reply.GetSys().GetNext() != "":
				query.Sys.Next = reply.GetSys().GetNext()
			default:
				return nil
			}
			var err error
			if reply, err = s.Glance(ctx, client.Target{On: reply.GetRunner()}, query); err != nil {
				return err
			}
		}
	}
}

// replyTable is a table with the way that a reply gets into it.
type replyTable struct {
	*term.Table
	add func(*pb.GlanceReply)
}

// show asks, and shows the replies as a table.
func (g *glanceCommand) show(ctx context.Context, s *app.Session, query *pb.Glance, table replyTable) error {
	bar := term.NewProgress(g.Err, g.ErrLook, "entries", 0)
	end, err := g.ask(ctx, s, query, func(reply *pb.GlanceReply) error {
		before := len(table.Rows)
		table.add(reply)
		bar.Add(int64(len(table.Rows) - before))
		return nil
	})
	bar.Done()
	if err != nil {
		return err
	}
	if len(table.Rows) > 0 {
		if err := table.Write(g.Out); err != nil {
			return err
		}
	}
	return end()
}

// table has a column for the runner where there may be several.
func (g *glanceCommand) table(headings ...string) *term.Table {
	if g.where.All {
		headings = append([]string{"runner"}, headings...)
	}
	return term.NewTable(g.Look, headings...)
}

func (g *glanceCommand) add(table *term.Table, reply *pb.GlanceReply, cells ...any) {
	if g.where.All {
		cells = append([]any{reply.GetRunner()}, cells...)
	}
	table.Add(cells...)
}

func newGlanceSysCommand(a *app.App) *cobra.Command {
	g := &glanceCommand{App: a}
	cmd := &cobra.Command{
		Use:     "sys",
		Short:   "What hosts have and what is in use",
		Example: "  runnel glance sys\n  runnel glance sys --all --where 'labels.env == \"prod\"'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return g.sys(ctx, s) })
		},
	}
	g.addFlags(cmd)
	return cmd
}

func (g *glanceCommand) sys(ctx context.Context, s *app.Session) error {
	table := term.NewTable(g.Look, "runner", "cpu", "memory", "disk /", "load", "os", "host")
	table.GiveWay("os", "runner")
	no := false
	return g.show(ctx, s, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: &no}}, replyTable{table, func(reply *pb.GlanceReply) {
		stats, res := reply.GetSys().GetStats(), reply.GetSys().GetResource()
		table.Add(reply.GetRunner(),
			fmt.Sprintf("%s %4s", stats.GetCpu().GetTotal(), stats.GetCpu().GetUsed()),
			g.share(stats.GetMemory(), res.GetRequested().GetMemory(), res.GetAllocatable().GetMemory()),
			g.share(stats.GetStorage(), res.GetRequested().GetStorage(), res.GetAllocatable().GetStorage()),
			fmt.Sprintf("%.1f", stats.GetLoad()), osText(stats.GetOs()), term.Dash(stats.GetHost()))
		if missing := reply.GetSys().GetError(); missing != "" {
			g.Say("%s: %s", reply.GetRunner(), term.Printable(missing))
		}
	}})
}

// osText leaves out what all of them say.
func osText(name string) string {
	return strings.Replace(strings.Replace(name, " GNU/Linux", "", 1), " Linux", "", 1)
}

// nearlyFull is the share of memory or storage from which it is marked.
const nearlyFull = 0.9

// share is "4 of 31 GB", marked when little is left.
func (g *glanceCommand) share(u *pb.Usage, used, total int64) any {
	text := fmt.Sprintf("%s of %s", strings.TrimSuffix(u.GetUsed(), " GB"), u.GetTotal())
	if total > 0 && float64(used) > nearlyFull*float64(total) {
		return term.Painted{Colour: term.Red, Text: text + "!"}
	}
	return text
}
