// Package schedules is `runnel schedule`: tasks that the NATS server has run at
// their times.
package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// NewCommand is `runnel schedule`.
func NewCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "schedule",
		Aliases: []string{"schedules"},
		GroupID: cli.GroupRun,
		Short:   "Run tasks at their times, without a scheduler process",
		Example: `  runnel schedule add nightly --cron '0 3 * * *' --tz Europe/Berlin -- ./backup
  runnel schedule add disk --every 5m --all -c 'df -h /'
  runnel schedule ls`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command \"schedule %s\" (see runnel schedule --help)", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newAddCommand(a), newListCommand(a), newShowCommand(a), newHistoryCommand(a),
		newPauseCommand(a), newResumeCommand(a), newRunCommand(a), newRemoveCommand(a),
		newApplyCommand(a), newDiffCommand(a),
	)
	return cmd
}

func jsonFlag(cmd *cobra.Command, to *bool, what string) {
	cmd.Flags().BoolVar(to, "json", false, "print "+what+", one JSON object a line")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
}

// names completes those of schedules.
func names(a *app.App) cobra.CompletionFunc {
	return a.Complete(app.Once(func(ctx context.Context, s *app.Session, _ []string) (found []string, err error) {
		all, err := s.Schedules(ctx)
		for _, one := range all {
			found = append(found, one.Name+"\t"+when(one))
		}
		return found, err
	}))
}

// advise adds what to do next.
func advise(err error) error {
	switch {
	case errors.Is(err, client.ErrUnknownSchedule):
		return fmt.Errorf("%w (runnel schedule ls)", err)
	case errors.Is(err, client.ErrScheduleOwned):
		return fmt.Errorf("%w (runnel pipeline show, runnel pipeline run)", err)
	case errors.Is(err, client.ErrScheduleChanged):
		return fmt.Errorf("%w (runnel schedule show tells; add --replace to write over it)", err)
	}
	return err
}

// when is a schedule's time in a few words.
func when(s client.Schedule) string {
	switch {
	case s.Cron != "" && s.Zone != "":
		return s.Cron + " " + s.Zone
	case s.Cron != "":
		return s.Cron
	case s.Every != "":
		return "every " + s.Every
	case s.At != nil:
		return "at " + s.At.UTC().Format(time.RFC3339)
	}
	return "-"
}

// next is a schedule's next tick.
func next(s client.Schedule, now time.Time) time.Time {
	if ticks := s.Next(now, 1); len(ticks) > 0 {
		return ticks[0]
	}
	return time.Time{}
}

// target is where a schedule's ticks run.
func target(s client.Schedule) string {
	switch {
	case s.Pipeline != "":
		return "pipeline " + s.Pipeline
	case !s.All:
		return "pool " + s.PoolOrDefault()
	case len(s.On) > 0:
		return "on " + strings.Join(s.On, ", ")
	case s.Where != "":
		return "all where " + s.Where
	case s.Pool != "":
		return "all of pool " + s.Pool
	}
	return "all"
}

// printed is a schedule with its next tick and its task, for --json.
type printed struct {
	client.Schedule
	Next *time.Time      `json:"next,omitempty"`
	Task json.RawMessage `json:"task"`
}

func printSchedule(a *app.App, s client.Schedule) error {
	task, err := pb.MarshalJSON(s.Task)
	if err != nil {
		return err
	}
	p := printed{Schedule: s, Task: task}
	if at := next(s, time.Now()); !at.IsZero() {
		p.Next = &at
	}
	out := json.NewEncoder(a.Out)
	out.SetEscapeHTML(false)
	return out.Encode(p)
}

// in is how long it is until then.
func in(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return "in " + term.ShortDuration(then.Sub(now))
}
