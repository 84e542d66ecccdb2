package pipelines

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline/definition"
	"github.com/runnel-io/runnel/service/pipeline/source"
)

// newValidateCommand is `runnel pipeline validate`. It asks nobody.
func newValidateCommand(a *app.App) *cobra.Command {
	var pattern string
	cmd := &cobra.Command{
		Use:     "validate [PATH…]",
		Short:   "Check pipelines.yml files, here and without a server",
		Example: "  runnel pipeline validate\n  runnel pipeline validate deploy/pipelines.yml",
		RunE: func(_ *cobra.Command, args []string) error {
			defs, err := definitionsIn(args, pattern)
			if err != nil {
				return sayProblems(a, err)
			}
			if len(defs.Files) == 0 {
				return fmt.Errorf("no file matches %s", pattern)
			}
			a.Say("%s in %s: good", term.Plural(len(defs.Pipelines), "pipeline"), term.Plural(len(defs.Files), "file"))
			return nil
		},
	}
	cmd.Flags().StringVar(&pattern, "pattern", source.DefaultPattern, "which files below a directory: `GLOB`")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "pattern")
	return cmd
}

// newSchemaCommand is `runnel pipeline schema`.
func newSchemaCommand(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of a pipelines.yml, for editors",
		Example: "  runnel pipeline schema > pipelines.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := definition.Schema()
			if err == nil {
				_, err = fmt.Fprintf(a.Out, "%s\n", text)
			}
			return err
		},
	}
}

// newApplyCommand is `runnel pipeline apply`.
func newApplyCommand(a *app.App) *cobra.Command {
	var prune bool
	var source string
	cmd := &cobra.Command{
		Use:     "apply FILE…",
		Short:   "Store the pipelines of files, or replace them",
		Example: "  runnel pipeline apply pipelines.yml\n  runnel pipeline apply --source ci:deploy - < pipelines.yml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if source != "" && len(args) > 1 {
				return fmt.Errorf("cannot use --source with %d files: each has its own", len(args))
			}
			texts := make([]string, len(args))
			for i, file := range args {
				text, err := readDefinitions(a, file)
				if err != nil {
					return err
				}
				if _, err := definition.Parse(file, []byte(text)); err != nil {
					return sayProblems(a, err)
				}
				texts[i] = text
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				for i, file := range args {
					from := source
					if from == "" {
						from = sourceOf(file)
					}
					if _, err := s.Apply(ctx, texts[i], client.ApplyOptions{Source: from, Prune: prune}); err != nil {
						return noEngine(err)
					}
					parsed, _ := definition.Parse(file, []byte(texts[i]))
					a.Say("%s: %s", file, strings.Join(term.SortedKeys(parsed), ", "))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "remove the file's pipelines that are not in it any more")
	cmd.Flags().StringVar(&source, "source", "", "where the definitions are from: `NAME` (default HOST:PATH)")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "prune", "source")
	return cmd
}

func readDefinitions(a *app.App, file string) (string, error) {
	if file == "-" {
		text, err := io.ReadAll(a.In)
		return string(text), err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", file, cli.Cause(err))
	}
	return string(text), nil
}

func sourceOf(file string) string {
	host, _ := os.Hostname()
	if abs, err := filepath.Abs(file); err == nil && file != "-" {
		file = abs
	}
	return host + ":" + file
}

// newRemoveCommand is `runnel pipeline rm`.
func newRemoveCommand(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME…",
		Short:   "Remove definitions; their jobs stay and go on",
		Example: "  runnel pipeline rm deploy",
		Args:    cobra.MinimumNArgs(1),

		ValidArgsFunction: a.Complete(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				for _, name := range args {
					if err := s.RemovePipeline(ctx, name); err != nil {
						return noEngine(err)
					}
					a.Say("removed %s", term.Printable(name))
				}
				return nil
			})
		},
	}
}
