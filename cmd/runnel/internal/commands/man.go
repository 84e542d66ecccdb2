//go:build man

package commands

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/service"
)

// addMan adds the command that writes man pages. It is for those who package
// Runnel, who build it with the tag man: the library behind it costs every
// start of the program a tenth of its time.
func addMan(root *cobra.Command) { root.AddCommand(newManCommand()) }

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "man DIRECTORY",
		GroupID:     cli.GroupOther,
		Short:       "Write a man page for every command",
		Example:     "  runnel man /usr/local/share/man/man1",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{cli.Offline: "true"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("cannot write man pages to %s: %w", args[0], cli.Cause(err))
			}
			header := &doc.GenManHeader{Title: "RUNNEL", Section: "1", Source: "Runnel " + service.Version, Manual: "Runnel"}
			root := cmd.Root()
			root.DisableAutoGenTag = true // a build is to be repeatable
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("cannot write man pages to %s: %w", args[0], err)
			}
			return nil
		},
	}
}
