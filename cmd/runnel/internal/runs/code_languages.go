package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/service/lang"
)

// newCodeLanguagesCommand is `runnel code languages`.
func newCodeLanguagesCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "languages",
		Short: "List the languages that the runners have, with their versions",
		Long: `List the languages that the runners have, with their versions. Without a server,
those of this machine.`,
		Example: "  runnel code languages",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := findLanguages(cmd.Context(), a)
			if err != nil {
				return err
			}
			return printLanguages(a, found, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a language")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
	return cmd
}

// languageFound is a language with its versions, as some runners have it.
type languageFound struct {
	Language string   `json:"language"`
	Versions []string `json:"versions"`
	Runners  []string `json:"runners,omitempty"`
}

func findLanguages(ctx context.Context, a *app.App) (found []*languageFound, err error) {
	byLine := map[string]*languageFound{}
	add := func(line, runner string) {
		words := strings.Fields(line)
		if byLine[line] == nil {
			byLine[line] = &languageFound{Language: words[0], Versions: words[1:]}
			found = append(found, byLine[line])
		}
		if runner != "" {
			byLine[line].Runners = append(byLine[line].Runners, runner)
		}
	}
	err = a.WithSession(ctx, func(ctx context.Context, s *app.Session) error {
		runners, err := s.Runners(ctx)
		for _, r := range runners {
			for _, line := range r.Card.GetLanguages() {
				if r.Online && line != "" {
					add(line, r.Card.GetName())
				}
			}
		}
		return err
	})
	if errors.Is(err, connect.ErrNoServer) {
		var table *lang.Table
		if table, err = lang.New(lang.Config{Environ: os.Environ()}); err == nil {
			for _, line := range table.List(ctx) {
				add(line, "")
			}
		}
	}
	slices.SortFunc(found, func(a, b *languageFound) int { return strings.Compare(a.Language, b.Language) })
	return found, err
}

func printLanguages(a *app.App, found []*languageFound, asJSON bool) error {
	if asJSON {
		return printEach(a.Out, found)
	}
	if len(found) == 0 {
		a.Say("no runner has told of a language yet")
		return nil
	}
	table := term.NewTable(a.Look, "language", "versions", "runners")
	for _, f := range found {
		where := strings.Join(f.Runners, " ")
		if len(f.Runners) > 4 {
			where = fmt.Sprintf("%s and %d more", strings.Join(f.Runners[:3], " "), len(f.Runners)-3)
		}
		table.Add(f.Language, strings.Join(f.Versions, " "), where)
	}
	return table.Write(a.Out)
}

// printEach prints one JSON object a line.
func printEach[T any](w io.Writer, all []T) error {
	for _, one := range all {
		if err := json.NewEncoder(w).Encode(one); err != nil {
			return err
		}
	}
	return nil
}
