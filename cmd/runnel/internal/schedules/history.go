package schedules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/timers"
)

// historyCommand is `runnel schedule history`.
type historyCommand struct {
	*app.App
	asJSON bool
	limit  int
}

func newHistoryCommand(a *app.App) *cobra.Command {
	h := &historyCommand{App: a}
	cmd := &cobra.Command{
		Use:               "history NAME",
		Short:             "List what became of a schedule's ticks, newest first",
		Example:           "  runnel schedule history nightly --limit 5",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: names(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if h.limit < 1 {
				return fmt.Errorf("cannot use --limit %d: it must be at least 1", h.limit)
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return h.show(ctx, s, args[0]) })
		},
	}
	cmd.Flags().IntVar(&h.limit, "limit", 20, "`N` records at most")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "limit")
	jsonFlag(cmd, &h.asJSON, "the records")
	return cmd
}

// show prints the records of the ticks or, of a pipeline's schedule, their jobs.
func (h *historyCommand) show(ctx context.Context, s *app.Session, name string) error {
	runs, err := s.ScheduleRuns(ctx, name, h.limit)
	if err != nil {
		return err
	}
	table := term.NewTable(h.Look, "run", "state", "runner", "began", "")
	if len(runs) == 0 {
		one, err := s.GetSchedule(ctx, name)
		if err != nil {
			return advise(err)
		}
		if one.Pipeline != "" {
			return h.jobs(ctx, s, one)
		}
		h.none(name)
	}
	now := time.Now()
	return h.print(table, len(runs), func(i int) (any, []any) {
		r := runs[i]
		return r, []any{r.GetId(), outcome(r), r.GetRunner(), term.Ago(now, r.GetCreated().AsTime()), term.Printable(r.GetError())}
	})
}

func (h *historyCommand) none(name string) { h.Say("%s has had no tick yet", name) }

// jobs prints those of a pipeline's schedule.
func (h *historyCommand) jobs(ctx context.Context, s *app.Session, one client.Schedule) error {
	jobs, err := jobsOf(ctx, s, one, h.limit)
	if errors.Is(err, client.ErrNoEngine) {
		return fmt.Errorf("cannot list the jobs of pipeline %s: %w: start one with runnel serve --engine", one.Pipeline, err)
	}
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		h.none(one.Name)
	}
	now := time.Now()
	table := term.NewTable(h.Look, "job", "state", "pipeline", "began", "")
	return h.print(table, len(jobs), func(i int) (any, []any) {
		j := jobs[i]
		return j, []any{j.GetId(), jobOutcome(j), term.Printable(j.GetPipeline()), term.Ago(now, j.GetCreated().AsTime()), term.Printable(noteOf(j))}
	})
}

// print prints n rows, each as JSON or in a table.
func (h *historyCommand) print(table *term.Table, n int, row func(int) (any, []any)) error {
	table.GiveWay("")
	for i := range n {
		message, cells := row(i)
		if !h.asJSON {
			table.Add(cells...)
		} else if err := h.PrintJSON(message.(pb.Message)); err != nil {
			return err
		}
	}
	if h.asJSON || n == 0 {
		return nil
	}
	return table.Write(h.Out)
}

// scheduleUser is whose the jobs are that ticks start.
const scheduleUser = "schedule"

// jobsLooked bounds how many jobs of a pipeline are looked at.
const jobsLooked = 5000

// jobsOf are the newest jobs that a pipeline's schedule has started, and those of
// which nobody can tell which one of several has.
func jobsOf(ctx context.Context, s *app.Session, one client.Schedule, limit int) (found []*pb.Job, err error) {
	all, err := s.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(other client.Schedule) bool { return other.Pipeline != one.Pipeline })
	looked := 0
	for job, err := range s.Jobs(ctx, client.JobsOptions{Pipeline: one.Pipeline}) {
		if err != nil {
			return nil, err
		}
		if by := startedBy(job, all); job.GetUser() == scheduleUser && (by == one.Name || by == "") {
			found = append(found, job)
		}
		if looked++; len(found) == limit || looked == jobsLooked {
			break
		}
	}
	return found, nil
}

// tickAge is how long after its tick a job may have begun that is looked for.
const tickAge = 10 * time.Minute

// startedBy is the schedule whose tick has the job; empty if that can't be told.
func startedBy(job *pb.Job, all []client.Schedule) string {
	created := job.GetCreated().AsTime()
	for _, s := range all {
		s.Paused = nil
		for ticks := s.Next(created.Add(-tickAge), 1); len(ticks) > 0 && !ticks[0].After(created); ticks = s.Next(ticks[0], 1) {
			if timers.JobID(s.Name, ticks[0]) == job.GetId() {
				return s.Name
			}
		}
	}
	return ""
}

// jobOutcome is how a tick's job went, in a word and its colour.
func jobOutcome(j *pb.Job) term.Painted {
	switch {
	case j.GetErrored():
		return term.Painted{Colour: term.Red, Text: "errored"}
	case j.GetCanceled():
		return term.Painted{Colour: term.Yellow, Text: "canceled"}
	case j.GetCompleted():
		return term.Painted{Colour: term.Green, Text: "ok"}
	}
	return term.Painted{Colour: term.Faint, Text: "running"}
}

// noteOf is why a job went so.
func noteOf(j *pb.Job) string {
	if j.GetCanceled() {
		return j.GetReason()
	}
	return j.GetLastError()
}
