// Package pipelines is `runnel pipeline`: definitions, jobs and their tasks' output.
package pipelines

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/source"
)

// NewCommand is `runnel pipeline`: graphs of tasks, and their jobs.
func NewCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pipeline",
		Aliases: []string{"pipelines"},
		GroupID: cli.GroupRun,
		Short:   "Run pipelines: graphs of tasks, with queues",
		Example: `  runnel pipeline validate             the pipelines.yml files below here
  runnel pipeline run deploy --var tag=v1.2 --follow
  runnel pipeline jobs`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command \"pipeline %s\" (see runnel pipeline --help)", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newListCommand(a),
		newRunCommand(a),
		newJobsCommand(a),
		newShowCommand(a),
		newLogsCommand(a),
		newCancelCommand(a),
		newRerunCommand(a),
		newValidateCommand(a),
		newSchemaCommand(a),
		newApplyCommand(a),
		newRemoveCommand(a),
	)
	return cmd
}

// newListCommand is `runnel pipeline ls`.
func newListCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the pipelines, with their running and waiting jobs",
		Example: "  runnel pipeline ls\n  runnel pipeline ls --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				all, err := s.Pipelines(ctx)
				if err != nil {
					return noEngine(err)
				}
				table := term.NewTable(a.Look, "pipeline", "running", "waiting", "state", "source")
				table.AlignRight("running", "waiting")
				table.GiveWay("source")
				for _, p := range all {
					if asJSON {
						if err := a.PrintJSON(p); err != nil {
							return err
						}
						continue
					}
					state := "ready"
					switch {
					case p.GetRemoved():
						state = "removed"
					case !p.GetSchedulable():
						state = "full"
					}
					table.Add(term.Printable(p.GetName()), fmt.Sprint(p.GetRunningJobs()), fmt.Sprint(p.GetWaitingJobs()), state, term.Printable(p.GetSource()))
				}
				if asJSON {
					return nil
				}
				if len(all) == 0 {
					a.Say("no pipeline is defined: runnel pipeline apply FILE puts some in")
					return nil
				}
				return table.Write(a.Out)
			})
		},
	}
	jsonFlag(cmd, &asJSON, "the pipelines")
	return cmd
}

func jsonFlag(cmd *cobra.Command, asJSON *bool, what string) {
	cmd.Flags().BoolVar(asJSON, "json", false, what+", one JSON object a line")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
}

// withPipelines runs do with a session. Without a NATS server there is an engine
// inside the command, with the pipelines of the directory.
func withPipelines(ctx context.Context, a *app.App, dir string, do func(*app.Session) error) (err error) {
	s, err := a.Open(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if !s.Target.Private() {
		return do(s)
	}
	nc, err := s.Target.Connect(nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	engine, err := pipeline.Start(ctx, nc, pipeline.Config{Prefix: a.Prefix, Logger: a.Log})
	if err != nil {
		return err
	}
	defer engine.Close()
	files := source.Files{Dir: dir, Logger: a.Log}
	if _, err := files.Apply(ctx, s.Client); err != nil {
		return err
	}
	return do(s)
}

// definitionsIn reads the files below the paths, or the files that they are.
func definitionsIn(paths []string, pattern string) (*source.Definitions, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	all := &source.Definitions{Pipelines: map[string]*definition.Pipeline{}, Source: map[string]string{}}
	var problems []error
	for _, path := range paths {
		defs, err := source.LoadPath(path, pattern)
		problems = append(problems, err)
		if defs == nil {
			continue
		}
		all.Files = append(all.Files, defs.Files...)
		for name, p := range defs.Pipelines {
			if other, twice := all.Source[name]; twice && other != defs.Source[name] {
				problems = append(problems, fmt.Errorf("pipeline %q is in %s and in %s", name, other, defs.Source[name]))
			}
			all.Pipelines[name], all.Source[name] = p, defs.Source[name]
		}
	}
	return all, errors.Join(problems...)
}

// sayProblems writes every problem of the files, with its place.
func sayProblems(a *app.App, err error) error {
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = nil
		for _, e := range joined.Unwrap() {
			if inner, ok := e.(interface{ Unwrap() []error }); ok {
				problems = append(problems, inner.Unwrap()...)
			} else {
				problems = append(problems, e)
			}
		}
	}
	for _, p := range problems {
		a.Say("%v", p)
		if place := (*definition.Error)(nil); errors.As(p, &place) && place.Excerpt != "" {
			fmt.Fprintln(a.Err, place.Excerpt)
		}
	}
	return &cli.ExitError{Code: cli.ExitOwn}
}

// noEngine adds what to do where nobody answers for pipelines.
func noEngine(err error) error {
	if errors.Is(err, client.ErrNoEngine) {
		return fmt.Errorf("%w: start one with runnel serve --engine", err)
	}
	return err
}
