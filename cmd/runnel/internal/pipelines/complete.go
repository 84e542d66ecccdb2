package pipelines

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
)

// completer finds what the shell may put at a place; it is not asked for what is
// there already.
type completer func(ctx context.Context, s *app.Session, args []string) ([]string, error)

func complete(a *app.App, find completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (found []string, _ cobra.ShellCompDirective) {
		_ = a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) (err error) {
			found, err = find(ctx, s, args)
			return err
		})
		found = slices.DeleteFunc(found, func(one string) bool { return slices.Contains(args, one) })
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument alone.
func first(find completer) completer {
	return func(ctx context.Context, s *app.Session, args []string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil
		}
		return find(ctx, s, args)
	}
}

func completePipelines(ctx context.Context, s *app.Session, _ []string) (names []string, err error) {
	all, err := s.Pipelines(ctx)
	for _, p := range all {
		names = append(names, p.GetName())
	}
	return names, err
}

// completedJobs is how many jobs a shell shows: the newest.
const completedJobs = 50

func completeJobs(ctx context.Context, s *app.Session, _ []string) (ids []string, err error) {
	for job, err := range s.Jobs(ctx, client.JobsOptions{Page: completedJobs}) {
		if err != nil || len(ids) == completedJobs {
			return ids, err
		}
		ids = append(ids, cobra.CompletionWithDesc(job.GetId(), jobState(job).Text+" "+term.Printable(job.GetPipeline())))
	}
	return ids, nil
}

// completeTasks completes those of the job that is the first argument.
func completeTasks(ctx context.Context, s *app.Session, args []string) (names []string, err error) {
	if len(args) == 0 {
		return nil, errors.New("no job")
	}
	job, err := findJob(ctx, s, args[0])
	for _, t := range job.GetTasks() {
		names = append(names, t.GetName())
	}
	return names, err
}

// completeJobThenTask is for commands that take a job and a task of it.
func completeJobThenTask(ctx context.Context, s *app.Session, args []string) ([]string, error) {
	switch len(args) {
	case 0:
		return completeJobs(ctx, s, args)
	case 1:
		return completeTasks(ctx, s, args)
	}
	return nil, nil
}

// completeFlag has a flag's values found.
func completeFlag(a *app.App, cmd *cobra.Command, flag string, find completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete(a, find)); err != nil {
		panic(err) // a slip of ours, seen by any test
	}
}
