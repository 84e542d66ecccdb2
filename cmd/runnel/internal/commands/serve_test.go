package commands

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
)

// Every flag of serve can be in a file: the rule has no exceptions to remember.
func TestEveryFlagOfServeCanBeInAFile(t *testing.T) {
	serve := subcommand(t, "serve")
	serve.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == "config" {
			return
		}
		words := strings.Split(f.Name, "-")
		key := words[0]
		for _, word := range words[1:] {
			key += strings.ToUpper(word[:1]) + word[1:]
		}
		if got := cli.FlagOfKey(serve.Flags(), key); got != f {
			t.Errorf("key %s: got %v, want --%s", key, got, f.Name)
		}
	})
}

func subcommand(t *testing.T, name string) *cobra.Command {
	t.Helper()
	root := newRoot(app.New(app.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}))
	cmd, _, err := root.Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}
