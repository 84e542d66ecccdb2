package hosts

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

func newGlanceCatCommand(a *app.App) *cobra.Command {
	g := &glanceCommand{App: a}
	var follow bool
	var tail int64
	cmd := &cobra.Command{
		Use:   "cat PATH",
		Short: "A file of a host, its exact bytes",
		Long:  "A file of a host, its exact bytes; with --all, the lines of every host's, each with its name in front",
		Example: `  runnel glance cat /etc/hostname --on web1
  runnel glance cat /var/log/syslog --on web1 --tail 4096 --follow
  runnel glance cat /etc/hostname --all`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case tail < 0:
				return errors.New("cannot use --tail: it must not be negative")
			case g.where.All && follow:
				return errors.New("cannot follow a file of every runner at once: name one with --on")
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				c := &cat{glanceCommand: g, s: s, path: args[0], follow: follow, from: -tail, piece: pieceBytes(s.Nc.MaxPayload())}
				if g.where.All {
					return c.all(ctx)
				}
				return c.one(ctx, g.where.Target)
			})
		},
	}
	g.where.Add(a, cmd)
	g.fan.Add(cmd)
	cmd.PreRunE = g.check
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new text, until interrupted")
	cmd.Flags().Var(app.Size{To: &tail}, "tail", "begin `N` bytes, or 64K, before the end")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "follow", "tail")
	return cmd
}

// cat copies a file, piece by piece.
type cat struct {
	*glanceCommand
	s      *app.Session
	path   string
	follow bool
	from   int64 // where to begin; negative: from the end
	piece  int64 // bytes at a time
}

const (
	catPiece = 512 << 10
	// catAllPiece is what each of a thousand runners is asked for at once.
	catAllPiece = 64 << 10
	catPause    = 500 * time.Millisecond
	// catEnvelope is what of a reply is not the file; of a small reply, half.
	catEnvelope = 32 << 10
)

// pieceBytes is how much of a file fits a reply, which has it as base64.
func pieceBytes(payload int64) int64 {
	return max(1, min(catPiece, (payload-min(catEnvelope, payload/2))/4*3))
}

// query asks for the piece at a place.
func (c *cat) query(offset int64) *pb.Glance {
	return &pb.Glance{File: &pb.FileQuery{Path: c.path, MaxSize: c.piece, Offset: &offset, Length: &c.piece}}
}

// one copies the file of one runner.
func (c *cat) one(ctx context.Context, where client.Target) error {
	ctx, stop := cli.OnInterrupt(ctx)
	defer stop()
	reply, err := c.s.Glance(ctx, where, c.query(c.from))
	if err == nil {
		to := &counting{to: c.Out, bar: term.NewProgress(c.Err, c.ErrLook.Beside(c.Look), term.Bytes, 0)}
		if !c.follow {
			to.bar.Total = reply.GetFile().GetSize() - reply.GetFile().GetOffset()
		}
		err = c.rest(ctx, reply, to)
		to.bar.Done()
	}
	if err != nil && ctx.Err() != nil {
		return &cli.ExitError{Code: cli.ExitAborted}
	}
	return err
}

// rest copies a piece and then those that follow it.
func (c *cat) rest(ctx context.Context, reply *pb.GlanceReply, to io.Writer) error {
	runner, away := reply.GetRunner(), false
	for {
		file := reply.GetFile()
		data, err := base64.StdEncoding.DecodeString(file.GetContent())
		if err != nil {
			return fmt.Errorf("the reply is not base64: %w", err)
		}
		if _, err := to.Write(data); err != nil {
			return err
		}
		offset := file.GetOffset() + int64(len(data))
		switch {
		case len(data) > 0:
		case !c.follow:
			return nil
		case file.GetSize() > 0 && file.GetSize() < offset:
			c.Say("%s is shorter than it was; beginning again", c.path)
			offset = 0
		default:
			if err := c.wait(ctx); err != nil {
				return err
			}
		}
		for reply = nil; reply == nil; {
			next, err := c.s.Glance(ctx, client.Target{On: runner}, c.query(offset))
			switch {
			case err == nil:
				reply, away = next, false
				continue
			case !c.follow || ctx.Err() != nil:
				return err
			case !away:
				// It may come again: a log is turned over, a runner restarted.
				c.Say("%v; waiting", err)
				away = true
			}
			if err := c.wait(ctx); err != nil {
				return err
			}
		}
	}
}

func (c *cat) wait(ctx context.Context) error {
	select {
	case <-time.After(catPause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// all prints the lines of every runner's file.
func (c *cat) all(ctx context.Context) error {
	c.piece = min(c.piece, catAllPiece)
	width := 0
	opts, done := c.glanceCommand.App.FanProgress(c.fan.FanOptions)
	expected := opts.Expected
	opts.Expected = func(names []string) {
		width = term.Longest(names)
		expected(names)
	}
	result, err := c.s.GlanceAll(ctx, c.where.Target, c.query(c.from), opts)
	done()
	if err != nil {
		return err
	}
	for _, name := range term.SortedKeys(result.Answers) {
		if result.Answers[name].Err != nil {
			continue
		}
		w := &prefixed{to: c.Out, prefix: fmt.Sprintf("%-*s  ", width, name)}
		if err := c.rest(ctx, result.Answers[name].Message, w); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := w.end(); err != nil {
			return err
		}
	}
	return c.glanceCommand.App.SayFan(&result.FanLists)
}

// counting writes what it is given, and shows how much that was.
type counting struct {
	to  io.Writer
	bar *term.Progress
}

func (c *counting) Write(data []byte) (int, error) {
	n, err := c.to.Write(data)
	c.bar.Add(int64(n))
	return n, err
}

// prefixed writes lines with something in front of each.
type prefixed struct {
	to     io.Writer
	prefix string
	open   bool // the last line has no end yet
}

func (p *prefixed) Write(data []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		if !p.open {
			out.WriteString(p.prefix)
		}
		out.Write(line)
		p.open = line[len(line)-1] != '\n'
	}
	if _, err := p.to.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(data), nil
}

// end ends the last line.
func (p *prefixed) end() error {
	if !p.open {
		return nil
	}
	_, err := io.WriteString(p.to, "\n")
	return err
}
