package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/output"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
)

// newJobsCommand is `runnel pipeline jobs`.
func newJobsCommand(a *app.App) *cobra.Command {
	var (
		asJSON bool
		name   string
		limit  int
	)
	cmd := &cobra.Command{
		Use:     "jobs",
		Short:   "List jobs, newest first",
		Example: "  runnel pipeline jobs\n  runnel pipeline jobs --pipeline deploy --limit 5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("cannot use --limit %d: it must be at least 1", limit)
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				table := term.NewTable(a.Look, "job", "state", "pipeline", "started", "for", "tasks", "user", "")
				table.AlignRight("for")
				table.GiveWay("", "user", "pipeline")
				for job, err := range s.Jobs(ctx, client.JobsOptions{Pipeline: name, Page: min(limit, 1000)}) {
					if err != nil {
						return noEngine(err)
					}
					if asJSON {
						if err := a.PrintJSON(job); err != nil {
							return err
						}
					} else {
						jobRow(table, job)
					}
					if limit--; limit == 0 {
						break
					}
				}
				if asJSON {
					return nil
				}
				return table.Write(a.Out)
			})
		},
	}
	cmd.Flags().StringVar(&name, "pipeline", "", "only jobs of the pipeline `NAME`")
	cmd.Flags().IntVar(&limit, "limit", 20, "`N` jobs at most")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "pipeline", "limit")
	a.CompleteFlag(cmd, "pipeline", completePipelines)
	jsonFlag(cmd, &asJSON, "the jobs")
	return cmd
}

func jobRow(table *term.Table, job *pb.Job) {
	done := 0
	for _, t := range job.GetTasks() {
		if t.GetEnd() != nil || t.GetStatus() == "done" || t.GetStatus() == "skipped" {
			done++
		}
	}
	now := time.Now()
	started := "-"
	if job.GetStart() != nil {
		started = term.Ago(now, job.GetStart().AsTime())
	}
	note := job.GetLastError()
	if job.GetCanceled() {
		note = job.GetReason()
	}
	table.Add(job.GetId(), jobState(job), term.Printable(job.GetPipeline()), started, between(job.GetStart(), job.GetEnd(), now),
		fmt.Sprintf("%d/%d", done, len(job.GetTasks())), term.Printable(job.GetUser()), term.Printable(note))
}

// jobState is a job's state in a word, and in its colour.
func jobState(job *pb.Job) term.Painted {
	switch {
	case job.GetErrored():
		return term.Painted{Colour: term.Red, Text: "errored"}
	case job.GetCanceled():
		return term.Painted{Colour: term.Yellow, Text: "canceled"}
	case job.GetCompleted():
		return term.Painted{Colour: term.Green, Text: "completed"}
	case job.GetStart() == nil:
		return term.Painted{Colour: term.Faint, Text: "waiting"}
	}
	return term.Painted{Colour: term.Faint, Text: "running"}
}

func taskState(t *pb.JobTask) term.Painted {
	colour := term.Faint
	switch t.GetStatus() {
	case "done":
		colour = term.Green
	case "error":
		colour = term.Red
	case "canceled":
		colour = term.Yellow
	}
	return term.Painted{Colour: colour, Text: t.GetStatus()}
}

// between is how long something took, or takes.
func between(start, end *timestamppb.Timestamp, now time.Time) string {
	if start == nil {
		return "-"
	}
	if end != nil {
		now = end.AsTime()
	}
	return term.ShortDuration(max(0, now.Sub(start.AsTime())))
}

// newShowCommand is `runnel pipeline show`.
func newShowCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show JOB",
		Short:   "Show a job and its tasks",
		Example: "  runnel pipeline show 0d1f…",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: a.Complete(app.Once(completeJobs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				job, err := findJob(ctx, s, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return a.PrintJSON(job)
				}
				return showJob(a, job)
			})
		},
	}
	jsonFlag(cmd, &asJSON, "the job")
	return cmd
}

func showJob(a *app.App, job *pb.Job) error {
	now := time.Now()
	facts := [][2]string{
		{"job", job.GetId()}, {"pipeline", term.Printable(job.GetPipeline())}, {"state", jobState(job).Text},
		{"created", job.GetCreated().AsTime().Local().Format(time.DateTime)}, {"took", between(job.GetStart(), job.GetEnd(), now)},
		{"user", term.Printable(job.GetUser())}, {"variables", term.Printable(job.GetVariablesJson())}, {"error", term.Printable(job.GetLastError())},
		{"canceled by", term.Printable(job.GetCanceledBy())}, {"reason", term.Printable(job.GetReason())}, {"runs again", job.GetRerunOf()},
	}
	if job.GetPlace() > 0 {
		facts = append(facts, [2]string{"place", fmt.Sprint(job.GetPlace())})
	}
	for _, f := range facts {
		if f[1] != "" && f[1] != "{}" {
			fmt.Fprintf(a.Out, "%-12s %s\n", f[0], f[1])
		}
	}
	if len(job.GetTasks()) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	table := term.NewTable(a.Look, "task", "state", "for", "runner", "after", "")
	table.AlignRight("for")
	table.GiveWay("", "after")
	for _, t := range job.GetTasks() {
		table.Add(term.Printable(t.GetName()), taskState(t), between(t.GetStart(), t.GetEnd(), now), t.GetRunner(),
			term.Printable(strings.Join(t.GetDependsOn(), " ")), taskNote(t))
	}
	return table.Write(a.Out)
}

func taskNote(t *pb.JobTask) string {
	note := t.GetError()
	if t.GetKept() {
		note = "kept"
	}
	if t.GetAttempt() > 1 {
		note = strings.TrimSpace(fmt.Sprintf("attempt %d %s", t.GetAttempt(), note))
	}
	return term.Printable(note)
}

// findJob finds a job by its id, or by a beginning of it that is unambiguous.
func findJob(ctx context.Context, s *app.Session, id string) (*pb.Job, error) {
	if len(id) >= 32 {
		job, err := s.Job(ctx, id)
		return job, noEngine(err)
	}
	var found *pb.Job
	for job, err := range s.Jobs(ctx, client.JobsOptions{Page: 1000}) {
		if err != nil {
			return nil, noEngine(err)
		}
		if !strings.HasPrefix(job.GetId(), strings.ToLower(id)) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%q is the beginning of several jobs' ids, such as %s and %s", id, found.GetId(), job.GetId())
		}
		found = job
	}
	if found == nil {
		return nil, fmt.Errorf("%w %s (runnel pipeline jobs)", client.ErrUnknownJob, id)
	}
	return found, nil
}

// newCancelCommand is `runnel pipeline cancel`.
func newCancelCommand(a *app.App) *cobra.Command {
	var (
		reason string
		asJSON bool
	)
	print := func(job *pb.Job) error {
		if asJSON {
			return a.PrintJSON(job)
		}
		_, err := fmt.Fprintln(a.Out, job.GetId(), jobState(job).Text)
		return err
	}
	cmd := &cobra.Command{
		Use:     "cancel JOB…",
		Short:   "Cancel jobs: running tasks are aborted, waiting ones never start",
		Example: "  runnel pipeline cancel 0d1f… --reason 'wrong tag'\n  runnel pipeline cancel 0d1f… --json | jq .canceledBy",
		Args:    cobra.MinimumNArgs(1),

		ValidArgsFunction: a.Complete(completeJobs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				for _, id := range args {
					job, err := findJob(ctx, s, id)
					if err != nil {
						return err
					}
					if job.GetCompleted() {
						a.Say("%s has ended: %s", job.GetId(), jobState(job).Text)
						if asJSON {
							if err := print(job); err != nil {
								return err
							}
						}
						continue
					}
					if _, err = s.Cancel(ctx, job.GetId(), client.CancelOptions{User: app.UserName(), Reason: reason}); err != nil {
						return noEngine(err)
					}
					if err := s.WatchJob(ctx, job.GetId(), func(j *pb.Job) error { job = j; return nil }); err != nil {
						return err
					}
					if err := print(job); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, as lists show it: `TEXT`")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "reason")
	jsonFlag(cmd, &asJSON, "the jobs as they have ended")
	return cmd
}

// newLogsCommand is `runnel pipeline logs`.
func newLogsCommand(a *app.App) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:     "logs JOB [TASK]",
		Short:   "Print what a job's tasks have printed",
		Example: "  runnel pipeline logs 0d1f…\n  runnel pipeline logs -f 0d1f… test",
		Args:    cobra.RangeArgs(1, 2),

		ValidArgsFunction: a.Complete(completeJobThenTask),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				job, err := findJob(ctx, s, args[0])
				if err != nil {
					return err
				}
				if len(args) == 1 {
					return jobView{s, follow, false}.follow(ctx, job.GetId())
				}
				return jobView{s, follow, false}.taskLogs(ctx, job, args[1])
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for what is still to come, until the job ends")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "follow")
	return cmd
}

// taskLogs prints one task's output as it is, and that of several runs with
// their runners' names.
func (v jobView) taskLogs(ctx context.Context, job *pb.Job, name string) error {
	task := job.Task(name)
	if task == nil {
		return fmt.Errorf("job %s has no task %q; it has %s", job.GetId(), name, taskNames(job))
	}
	for v.live && len(task.GetRuns()) == 0 && task.GetEnd() == nil {
		started := errors.New("started")
		err := v.WatchJob(ctx, job.GetId(), func(j *pb.Job) error {
			if task = j.Task(name); len(task.GetRuns()) > 0 || task.GetEnd() != nil {
				return started
			}
			return nil
		})
		if err != nil && !errors.Is(err, started) {
			return err
		}
		if err == nil {
			break
		}
	}
	for _, id := range task.GetRuns() {
		run, err := v.Status(ctx, id)
		if errors.Is(err, client.ErrUnknownRun) {
			continue
		}
		if err != nil {
			return err
		}
		show := output.NewPrinter(v.App, false, false)
		_, err = v.Session.Follow(ctx, run, client.FollowOptions{Live: v.live}, func(r lines.Record) error { return show.Record(r) })
		if err := errors.Join(err, show.Flush()); err != nil {
			return err
		}
	}
	return nil
}

func taskNames(job *pb.Job) string {
	var all []string
	for _, t := range job.GetTasks() {
		all = append(all, term.Printable(t.GetName()))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
