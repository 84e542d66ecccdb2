package schedules

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/runs"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/schedule"
)

type addCommand struct {
	*app.App
	schedule         client.Schedule
	at, from, until  string
	overlap          string
	jitter, deadline time.Duration
	replace          bool
	task             *runs.Stored
}

func newAddCommand(a *app.App) *cobra.Command {
	add := &addCommand{App: a}
	cmd := &cobra.Command{
		Use:   "add NAME WHEN [flags] [--] PROGRAM [ARG...]",
		Short: "Add a schedule for a task",
		Example: `  runnel schedule add nightly --cron '0 3 * * *' --tz Europe/Berlin -- ./backup
  runnel schedule add disk --every 5m --all -c 'df -h /'
  runnel schedule add once --at 2026-12-24T18:00:00Z --on web1 -- reboot`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("give it a name: runnel schedule add NAME --every 5m -- PROGRAM")
			}
			return add.do(cmd, args[0], args[1:])
		},
	}
	cmd.Flags().SetInterspersed(true)
	flags := cmd.Flags()
	flags.StringVar(&add.schedule.Cron, "cron", "", "a `PATTERN` of five fields: minute, hour, day, month, weekday;\nor six with the second first; or @daily, @hourly, …")
	flags.StringVar(&add.schedule.Zone, "tz", "", "the pattern's time `ZONE`, such as Europe/Berlin (default UTC)")
	flags.StringVar(&add.schedule.Every, "every", "", "an interval `D`, such as 5m")
	flags.StringVar(&add.at, "at", "", "once, at a `TIME` such as 2006-01-02T15:04:05Z")
	flags.StringVar(&add.from, "from", "", "no tick before this `TIME`")
	flags.StringVar(&add.until, "until", "", "no tick after this `TIME`")
	flags.DurationVar(&add.jitter, "jitter", 0, "put each run off by up to so long; with --all each runner by a\nfixed part of it")
	flags.DurationVar(&add.deadline, "start-deadline", 0, "a tick that is later is recorded and not run (default 24h,\nwith --all 10m)")
	flags.StringVar(&add.overlap, "overlap", "", "`skip|allow|replace`: what happens while the last run goes on\n(default skip)")
	flags.BoolVar(&add.replace, "replace", false, "write over the schedule of that name")
	cli.Group(flags, cli.FlagsWhen, "cron", "tz", "every", "at", "from", "until", "jitter", "start-deadline", "overlap", "replace")
	cli.CompleteValues(cmd, "overlap", "skip", "allow", "replace")
	add.task = runs.NewStored(a, cmd)
	return cmd
}

func (c *addCommand) do(cmd *cobra.Command, name string, args []string) error {
	req, err := c.task.Request(cmd, args)
	if err != nil {
		return err
	}
	s := c.schedule
	s.Name, s.Task, s.Overlap, s.By = name, req, schedule.Overlap(c.overlap), app.UserName()
	where := c.task.Target()
	s.Pool, s.All, s.Where = where.Pool, where.All || where.On != "" || where.Where != "", where.Where
	if where.On != "" {
		s.On = []string{where.On}
	}
	for _, t := range []struct {
		flag, text string
		to         **time.Time
	}{{"at", c.at, &s.At}, {"from", c.from, &s.From}, {"until", c.until, &s.Until}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return fmt.Errorf("cannot use --%s %q: it is a time such as %s", t.flag, t.text, time.Now().UTC().Format(time.RFC3339))
		}
		*t.to = &at
	}
	if c.jitter != 0 {
		s.Jitter = c.jitter.String()
	}
	if c.deadline != 0 {
		s.StartDeadline = c.deadline.String()
	}
	if err := s.Check(time.Now()); err != nil {
		return fmt.Errorf("cannot add schedule %s: %w", name, err)
	}
	return c.WithSession(cmd.Context(), func(ctx context.Context, session *app.Session) error {
		if c.replace {
			there, err := session.GetSchedule(ctx, name)
			if err != nil && !errors.Is(err, client.ErrUnknownSchedule) {
				return err
			}
			s.Rev = there.Rev
		}
		stored, err := session.PutSchedule(ctx, s)
		if err != nil {
			return advise(err)
		}
		if c.task.AsJSON() {
			return printSchedule(c.App, stored)
		}
		now := time.Now()
		if next(stored, now).IsZero() {
			_, err = fmt.Fprintf(c.Out, "%s: no tick is to come\n", name)
			return err
		}
		_, err = fmt.Fprintf(c.Out, "%s: next %s (%s)\n", name, next(stored, now).UTC().Format(time.RFC3339), in(now, next(stored, now)))
		return err
	})
}
