package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// glanceCommand is `runnel glance`: a look at hosts.
type glanceCommand struct {
	*app
	json  bool
	where targetFlags
	fan   fanFlags
}

func newGlanceCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "glance",
		GroupID: groupFleet,
		Short:   "Look at hosts: their system, processes, directories, files",
		Example: `  runnel glance sys --all
  runnel glance ls /var/log --on web1
  runnel glance cat /etc/os-release --on web1
  runnel glance ps --top 10 --sort cpu`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGlanceSysCommand(a), newGlancePsCommand(a), newGlanceLsCommand(a), newGlanceCatCommand(a))
	return cmd
}

func (g *glanceCommand) addFlags(cmd *cobra.Command) {
	g.where.add(cmd)
	cmd.Flags().BoolVar(&g.json, "json", false, "the replies, one JSON object a line")
	groupFlags(cmd.Flags(), flagsOutput, "json")
}

// many says whether the answer may be that of several runners.
func (g *glanceCommand) many() bool { return g.where.All }

func newGlanceSysCommand(a *app) *cobra.Command {
	g := &glanceCommand{app: a}
	cmd := &cobra.Command{
		Use:     "sys",
		Short:   "What hosts have and what is in use",
		Example: "  runnel glance sys\n  runnel glance sys --all --where 'labels.env == \"prod\"'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSession(cmd.Context(), func(s *session) error { return g.sys(cmd.Context(), s) })
		},
	}
	g.addFlags(cmd)
	g.fan.add(cmd)
	return cmd
}

func (g *glanceCommand) sys(ctx context.Context, s *session) error {
	no := false
	query := &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: &no}}
	if g.many() {
		replies := map[string]*pb.GlanceReply{}
		opts, done := g.fanProgress(g.fan.FanOptions)
		result, err := s.GlanceAll(ctx, g.where.Target, query, opts)
		done()
		if err != nil {
			return err
		}
		if g.json {
			return errors.Join(g.printAnswers(result), g.sayFan(result))
		}
		for name, answer := range result.Answers {
			if reply, ok := answer.Reply.(*pb.GlanceReply); ok && reply.GetSys().GetStats() != nil {
				replies[name] = reply
			}
		}
		if err := g.sysTable(replies); err != nil {
			return err
		}
		return g.sayFan(result)
	}
	reply, err := s.Glance(ctx, g.where.Target, query)
	switch {
	case err != nil:
		return err
	case g.json:
		return g.printJSON(reply)
	}
	return g.sysTable(map[string]*pb.GlanceReply{reply.GetRunner(): reply})
}

// nearlyFull is the share of memory or storage from which it is marked.
const nearlyFull = 0.9

func (g *glanceCommand) sysTable(replies map[string]*pb.GlanceReply) error {
	if len(replies) == 0 {
		return nil
	}
	table := newColumns(g.look, "runner", "cpu", "memory", "disk /", "load", "os", "host")
	for _, name := range sortedKeys(replies) {
		stats, res := replies[name].GetSys().GetStats(), replies[name].GetSys().GetResource()
		table.add(name,
			fmt.Sprintf("%s %4s", stats.GetCpu().GetTotal(), stats.GetCpu().GetUsed()),
			g.share(stats.GetMemory(), res.GetRequested().GetMemory(), res.GetAllocatable().GetMemory()),
			g.share(stats.GetStorage(), res.GetRequested().GetStorage(), res.GetAllocatable().GetStorage()),
			fmt.Sprintf("%.1f", stats.GetLoad()), stats.GetOs(), stats.GetHost())
	}
	return table.write(g.out)
}

// share is "4 of 31 GB", marked when little is left.
func (g *glanceCommand) share(u *pb.Usage, used, total int64) any {
	text := fmt.Sprintf("%s of %s", strings.TrimSuffix(u.GetUsed(), " GB"), u.GetTotal())
	if total > 0 && float64(used) > nearlyFull*float64(total) {
		return painted{red, text + "!"}
	}
	return text
}

func newGlancePsCommand(a *app) *cobra.Command {
	g := &glanceCommand{app: a}
	var top int64
	var sort string
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "The processes of a host",
		Example: "  runnel glance ps --top 10 --sort memory --on web1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.many() {
				return errors.New("cannot list the processes of every runner at once: name one with --on")
			}
			return a.withSession(cmd.Context(), func(s *session) error {
				return g.ps(cmd.Context(), s, &pb.SysQuery{Enable: true, Top: top, Sort: sort})
			})
		},
	}
	g.addFlags(cmd)
	cmd.Flags().Int64Var(&top, "top", 0, "the first `N` processes (default: all)")
	cmd.Flags().StringVar(&sort, "sort", "pid", "by `KEY`: cpu, memory or pid")
	groupFlags(cmd.Flags(), flagsWhat, "top", "sort")
	return cmd
}

func (g *glanceCommand) ps(ctx context.Context, s *session, query *pb.SysQuery) error {
	table := newColumns(g.look, "pid", "memory", "cpu time", "threads", "command")
	where := g.where.Target
	for {
		reply, err := s.Glance(ctx, where, &pb.Glance{Sys: query})
		if err != nil {
			return err
		}
		if g.json {
			if err := g.printJSON(reply); err != nil {
				return err
			}
		}
		for _, p := range reply.GetSys().GetStats().GetProcesses() {
			command := p.GetProcess().GetCmdline()
			if command == "" {
				command = "[" + p.GetProcess().GetName() + "]"
			}
			table.add(p.GetProcess().GetPid(), size(p.GetProcess().GetMemory()),
				shortDuration(time.Duration(p.GetProcess().GetTime()*float64(time.Second))), len(p.GetThreads())+1, command)
		}
		where = client.Target{On: reply.GetRunner()} // the other pages are the same host's
		if query.Next = reply.GetSys().GetNext(); query.Next == "" {
			break
		}
	}
	if g.json {
		return nil
	}
	return table.write(g.out)
}

func newGlanceLsCommand(a *app) *cobra.Command {
	g := &glanceCommand{app: a}
	cmd := &cobra.Command{
		Use:     "ls PATH",
		Short:   "A directory of a host",
		Example: "  runnel glance ls /var/log --on web1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.many() {
				return errors.New("cannot list a directory of every runner at once: name one with --on")
			}
			return a.withSession(cmd.Context(), func(s *session) error { return g.ls(cmd.Context(), s, args[0]) })
		},
	}
	g.addFlags(cmd)
	return cmd
}

// lsPage is how many entries are asked for at a time: about what a message holds.
const lsPage = 5000

func (g *glanceCommand) ls(ctx context.Context, s *session, dir string) error {
	table := newColumns(g.look, "mode", "user", "group", "size", "time", "name")
	where := g.where.Target
	query := &pb.DirQuery{Path: dir, Limit: lsPage}
	for {
		reply, err := s.Glance(ctx, where, &pb.Glance{Dir: query})
		if err != nil {
			return fmt.Errorf("cannot list %s: %w", dir, err)
		}
		if g.json {
			if err := g.printJSON(reply); err != nil {
				return err
			}
		}
		for _, e := range reply.GetDir().GetEntries() {
			table.add(e.GetMode(), e.GetUser(), e.GetGroup(), e.GetSize(), e.GetTime(), e.GetName())
		}
		where = client.Target{On: reply.GetRunner()}
		if query.Next = reply.GetDir().GetNext(); query.Next == "" {
			break
		}
	}
	if g.json {
		return nil
	}
	return table.write(g.out)
}

func newGlanceCatCommand(a *app) *cobra.Command {
	g := &glanceCommand{app: a}
	var follow bool
	var tail int64
	cmd := &cobra.Command{
		Use:   "cat PATH",
		Short: "A file of a host, its exact bytes",
		Example: `  runnel glance cat /etc/os-release --on web1
  runnel glance cat /var/log/syslog --on web1 --tail 4096 --follow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.many() {
				return errors.New("cannot show a file of every runner at once: name one with --on")
			}
			return a.withSession(cmd.Context(), func(s *session) error {
				c := &cat{glanceCommand: g, s: s, where: g.where.Target, path: path.Clean(args[0]), follow: follow}
				return c.run(cmd.Context(), tail)
			})
		},
	}
	g.where.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is added, until interrupted")
	cmd.Flags().Int64Var(&tail, "tail", 0, "begin `N` bytes before the end")
	groupFlags(cmd.Flags(), flagsWhat, "follow", "tail")
	return cmd
}

// cat copies one file, piece by piece.
type cat struct {
	*glanceCommand
	s      *session
	where  client.Target
	path   string
	follow bool
	offset int64
}

const (
	catPiece = 512 << 10 // bytes a piece: base64 and the envelope fit a message
	catPause = 500 * time.Millisecond
)

func (c *cat) run(ctx context.Context, tail int64) error {
	ctx, stop := onInterrupt(ctx)
	defer stop()
	if tail > 0 {
		c.offset = -tail
	}
	for {
		more, err := c.piece(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return &exitError{code: exitAborted}
		case err != nil:
			return fmt.Errorf("cannot show %s: %w", c.path, err)
		case more:
			continue
		case !c.follow:
			return nil
		}
		select {
		case <-time.After(catPause):
		case <-ctx.Done():
			return &exitError{code: exitAborted}
		}
	}
}

// piece copies the next one; more says that there may be another at once.
func (c *cat) piece(ctx context.Context) (more bool, err error) {
	length := int64(catPiece)
	reply, err := c.s.Glance(ctx, c.where, &pb.Glance{File: &pb.FileQuery{Path: c.path, MaxSize: catPiece, Offset: &c.offset, Length: &length}})
	if err != nil {
		return false, err
	}
	c.where = client.Target{On: reply.GetRunner()}
	data, err := base64.StdEncoding.DecodeString(reply.GetFile().GetContent())
	if err != nil {
		return false, fmt.Errorf("the reply is not base64: %w", err)
	}
	if _, err := c.out.Write(data); err != nil {
		return false, err
	}
	at := reply.GetFile().GetOffset()
	if c.follow && reply.GetFile().GetSize() < at && reply.GetFile().GetSize() > 0 {
		c.say("%s is shorter than it was; beginning again", c.path)
		c.offset = 0
		return true, nil
	}
	c.offset = at + int64(len(data))
	return len(data) > 0, nil
}
