package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/definition"
)

// pipelineRun is `runnel pipeline run`.
type pipelineRun struct {
	*app.App
	vars      []string
	varsFile  string
	partition string
	user      string
	dir       string
	follow    bool
	asJSON    bool
}

func newRunCommand(a *app.App) *cobra.Command {
	p := &pipelineRun{App: a}
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Start a job of a pipeline; without a server, in this command",
		Example: `  runnel pipeline run deploy --var tag=v1.2
  runnel pipeline run deploy --vars vars.json --follow
  echo '{"n": 3}' | runnel pipeline run deploy --vars -`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: a.Complete(app.Once(completePipelines)),
		RunE:              func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args[0]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&p.vars, "var", nil, "a variable `K=V`, as text; may be repeated")
	flags.StringVar(&p.varsFile, "vars", "", "variables of any kind: a JSON object in `FILE`; - is standard input")
	flags.StringVar(&p.partition, "partition", "", "the `PARTITION` of a partitioned_replace queue")
	flags.StringVar(&p.user, "user", "", "who starts it, as lists show it: `NAME` (default: you)")
	cli.Group(flags, cli.FlagsWhat, "var", "vars", "partition", "user")
	flags.StringVar(&p.dir, "path", ".", "without a server: the `DIRECTORY` with the pipelines.yml files")
	cli.Group(flags, cli.FlagsWhere, "path")
	flags.BoolVarP(&p.follow, "follow", "f", false, "show what happens until the job ends; its result is the exit code")
	flags.BoolVar(&p.asJSON, "json", false, "print the job, and with --follow each change of it, one JSON object a line")
	cli.Group(flags, cli.FlagsOutput, "follow", "json")
	return cmd
}

func (p *pipelineRun) run(ctx context.Context, name string) error {
	vars, err := p.variables()
	if err != nil {
		return err
	}
	if p.user == "" {
		p.user = app.UserName()
	}
	return withPipelines(ctx, p.App, p.dir, func(s *app.Session) error {
		job, err := s.Schedule(ctx, name, client.ScheduleOptions{Variables: vars, User: p.user, Partition: p.partition})
		if err != nil {
			return noEngine(err)
		}
		return jobView{s, p.follow || s.Target.Private(), p.asJSON}.started(ctx, job)
	})
}

// errLeft: the user has asked twice.
var errLeft = errors.New("left")

// jobView says how a command shows a job: once, or live until it ends.
type jobView struct {
	*app.Session
	live, asJSON bool
}

// started tells of a new job, and follows it if that is wanted.
func (v jobView) started(ctx context.Context, job *pb.Job) error {
	if v.live {
		return v.follow(ctx, job.GetId())
	}
	if v.asJSON {
		return v.App.PrintJSON(job)
	}
	_, err := fmt.Fprintln(v.App.Out, job.GetId())
	return err
}

// variables are those of the file, and above them those of flags.
func (p *pipelineRun) variables() (map[string]any, error) {
	vars := map[string]any{}
	if p.varsFile != "" {
		var text []byte
		var err error
		if p.varsFile == "-" {
			text, err = io.ReadAll(p.In)
		} else {
			text, err = os.ReadFile(p.varsFile)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", p.varsFile, cli.Cause(err))
		}
		if vars, err = definition.ReadVariables(text); err != nil {
			return nil, fmt.Errorf("%s: %w", p.varsFile, err)
		}
	}
	for _, pair := range p.vars {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("cannot use --var %q: give NAME=VALUE", pair)
		}
		vars[name] = value // text as it stands: commas and quotes too
	}
	if body, err := json.Marshal(vars); err != nil || len(body) > definition.MaxVariables {
		return nil, fmt.Errorf("cannot use variables: they have %d bytes, %d at most", len(body), definition.MaxVariables)
	}
	return vars, nil
}

// newRerunCommand is `runnel pipeline rerun`.
func newRerunCommand(a *app.App) *cobra.Command {
	var opts client.RerunOptions
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:     "rerun JOB",
		Short:   "Run a job again as a new one, with its definition and variables",
		Example: "  runnel pipeline rerun 0d1f…\n  runnel pipeline rerun 0d1f… --failed --follow\n  runnel pipeline rerun 0d1f… --from test",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: a.Complete(app.Once(completeJobs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				old, err := findJob(ctx, s, args[0])
				if err != nil {
					return err
				}
				opts.User = app.UserName()
				job, err := s.Rerun(ctx, old.GetId(), opts)
				if err != nil {
					return noEngine(err)
				}
				return jobView{s, follow, asJSON}.started(ctx, job)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.Failed, "failed", false, "keep the tasks that ended well")
	flags.StringVar(&opts.From, "from", "", "run `TASK` and those that depend on it; keep the others")
	cmd.MarkFlagsMutuallyExclusive("failed", "from")
	a.CompleteFlag(cmd, "from", completeTasks)
	cli.Group(flags, cli.FlagsWhat, "failed", "from")
	flags.BoolVarP(&follow, "follow", "f", false, "show what happens until the job ends; its result is the exit code")
	flags.BoolVar(&asJSON, "json", false, "print the job as JSON")
	cli.Group(flags, cli.FlagsOutput, "follow", "json")
	return cmd
}

// follow shows a job until it ends, or what there is of it now. The first
// signal cancels the job, a second one leaves it.
func (v jobView) follow(ctx context.Context, id string) error {
	if !v.live {
		job, err := v.Job(ctx, id)
		if err != nil {
			return noEngine(err)
		}
		f := newJobFollower(ctx, v.App, v.Session, false)
		f.saw(job)
		return f.close()
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	stop := cancelOnSignal(ctx, v.Session, id, leave)
	defer stop()
	f := newJobFollower(ctx, v.App, v.Session, true)
	var last *pb.Job
	err := v.WatchJob(ctx, id, func(job *pb.Job) error {
		last = job
		if v.asJSON {
			return v.App.PrintJSON(job)
		}
		f.saw(job)
		return nil
	})
	if closing := f.close(); err == nil {
		err = closing
	}
	if errors.Is(context.Cause(ctx), errLeft) {
		return &cli.ExitError{Code: cli.ExitAborted, Message: "left; the job goes on: runnel pipeline show " + id}
	}
	if err != nil {
		return err
	}
	return jobResult(v.App, last, v.asJSON)
}

// jobResult says how a job ended and gives the command its exit code.
func jobResult(a *app.App, job *pb.Job, quiet bool) error {
	say := func(format string, args ...any) {
		if !quiet {
			a.Say(format, args...)
		}
	}
	switch {
	case job.GetCanceled():
		text := "job " + job.GetId() + " canceled"
		if job.GetCanceledBy() != "" {
			text += " by " + job.GetCanceledBy()
		}
		if job.GetReason() != "" {
			text += ": " + job.GetReason()
		}
		say("%s", text)
		return &cli.ExitError{Code: cli.ExitAborted}
	case job.GetErrored():
		say("job %s errored: %s", job.GetId(), job.GetLastError())
		return &cli.ExitError{Code: 1}
	}
	say("job %s completed in %s", job.GetId(), between(job.GetStart(), job.GetEnd(), job.GetEnd().AsTime()))
	return nil
}

// cancelOnSignal cancels the job with the first signal, and leaves with a second, or
// with cli.LeaveSignal.
func cancelOnSignal(ctx context.Context, s *app.Session, id string, leave context.CancelCauseFunc) (stop func()) {
	signals, stopSignals := cli.UserSignals()
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-over:
			return
		case sig := <-signals:
			if sig == cli.LeaveSignal {
				leave(errLeft)
				return
			}
		}
		s.App.Say("canceling the job; once more to leave it")
		wg.Go(func() {
			if _, err := s.Cancel(ctx, id, client.CancelOptions{User: app.UserName(), Reason: "interrupted"}); err != nil && ctx.Err() == nil {
				s.App.Say("cannot cancel the job: %v", err)
			}
		})
		select {
		case <-over:
		case <-signals:
			leave(errLeft)
		}
	})
	return func() {
		stopSignals()
		close(over)
		leave(nil)
		wg.Wait()
	}
}
