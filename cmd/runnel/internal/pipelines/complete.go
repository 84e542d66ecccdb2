package pipelines

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
)

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
