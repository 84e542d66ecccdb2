package cli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// tree is a small command line: cook with soup, which has flags, and a hidden one.
func tree() (*cobra.Command, *bytes.Buffer) {
	var out bytes.Buffer
	root := &cobra.Command{
		Use: "cook", Short: "Make a meal", Example: "  cook soup --salt 3g", SilenceErrors: true, SilenceUsage: true,
		Args: KnownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().String("server", "", "where the `KITCHEN` is")
	Group(root.PersistentFlags(), FlagsConnect, "server")
	BindEnv(root.PersistentFlags(), "server", "KITCHEN_URL")
	soup := &cobra.Command{
		Use: "soup BOWL", Short: "Make soup", Long: "Make soup, " + strings.Repeat("slowly ", 20) + "and with love.", Example: "  cook soup big",
		Args: cobra.ExactArgs(1), RunE: func(*cobra.Command, []string) error { return nil },
	}
	soup.Flags().String("salt", "", "so `MUCH` salt")
	soup.Flags().Bool("hot", true, "as it should be")
	soup.Flags().Int("guests", 2, "for `N` guests")
	soup.Flags().Duration("for", 0, "boil so long")
	labels := map[string]string{}
	soup.Flags().StringToStringVar(&labels, "label", nil, "a label `K=V`")
	Group(soup.Flags(), FlagsWhat, "salt")
	Group(soup.Flags(), FlagsOutput, "hot")
	secret := &cobra.Command{Use: "secret", Short: "Hidden", Hidden: true, RunE: func(*cobra.Command, []string) error { return nil }}
	many := &cobra.Command{Use: "serve DISH…", Short: "Serve", Args: cobra.MinimumNArgs(1), RunE: func(*cobra.Command, []string) error { return nil }}
	none := &cobra.Command{Use: "wash", Short: "Wash up", Args: cobra.NoArgs, Annotations: map[string]string{Offline: "yes"}, RunE: func(*cobra.Command, []string) error { return nil }}
	root.AddCommand(soup, secret, many, none)
	for _, cmd := range root.Commands() {
		cmd.GroupID = GroupOther
	}
	root.SetOut(&out)
	root.SetErr(&out)
	root.AddGroup(&cobra.Group{ID: GroupOther, Title: "Other"})
	StyleHelp(root)
	return root, &out
}

func TestHelp(t *testing.T) {
	root, out := tree()
	root.SetArgs([]string{"soup", "-h"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want := `Make soup, slowly slowly slowly slowly slowly slowly slowly slowly slowly slowly
slowly slowly slowly slowly slowly slowly slowly slowly slowly slowly and with
love.

  cook soup big

Usage: cook soup BOWL [flags]

What
      --salt MUCH   so MUCH salt

Output
      --hot   as it should be (default true)

Flags
      --for duration   boil so long
      --guests N       for N guests (default 2)
      --label K=V      a label K=V

General
  -h, --help   help for soup

Connection, as in the nats command
      --server KITCHEN   where the KITCHEN is [KITCHEN_URL]
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A command that needs no server says nothing of how to reach one, and what is
// hidden is not in the list.
func TestHelpLeavesOut(t *testing.T) {
	root, out := tree()
	root.SetArgs([]string{"wash", "-h"})
	if err := root.Execute(); err != nil || strings.Contains(out.String(), "KITCHEN") {
		t.Errorf("got %v\n%s", err, out)
	}
	root, out = tree()
	root.SetArgs([]string{"help"})
	if err := root.Execute(); err != nil || strings.Contains(out.String(), "Hidden") || !strings.Contains(out.String(), "\nOther\n  serve        Serve\n  soup         Make soup\n  wash         Wash up\n") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestHelpCommand(t *testing.T) {
	for line, want := range map[string]string{
		"help soup":   "Make soup, slowly",
		"help wash":   "Wash up.\n",
		"help nosuch": `there is no command "nosuch" (see cook --help)`,
		"help soup x": `there is no command "soup x" (see cook soup --help)`,
	} {
		root, out := tree()
		root.SetArgs(strings.Fields(line))
		err := root.Execute()
		got := out.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// What cobra and pflag find wrong is said in our words, with what to do next.
func TestMistakesInOurWords(t *testing.T) {
	for line, want := range map[string]string{
		"soup":                                "an argument is missing: cook soup BOWL [flags] (see cook soup --help)",
		"soup a b":                            `cannot use the argument "b": cook soup BOWL [flags] (see cook soup --help)`,
		"serve":                               "an argument is missing: cook serve DISH… [flags] (see cook serve --help)",
		"wash up":                             `cannot use the argument "up": cook wash [flags] (see cook wash --help)`,
		"soup a --guests many":                `cannot use --guests "many": it is a whole number (see cook soup --help)`,
		"soup a --hot=perhaps":                `cannot use --hot "perhaps": it is true or false (see cook soup --help)`,
		"soup a --for 5":                      `cannot use --for "5": it is a duration with a unit, such as 30s or 1h30m (see cook soup --help)`,
		"soup a --nosuch":                     "unknown flag: --nosuch (see cook soup --help)",
		"soup a -x":                           "unknown shorthand flag: 'x' in -x (see cook soup --help)",
		"soup a --salt":                       "flag needs an argument: --salt (see cook soup --help)",
		"soap":                                `there is no command "soap"; did you mean soup?`,
		"dinner":                              `there is no command "dinner" (see runnel --help)`,
		"soup a --guests 9999999999999999999": `cannot use --guests "9999999999999999999": it is a whole number (see cook soup --help)`,
	} {
		root, out := tree()
		root.SetArgs(strings.Fields(line))
		err := root.Execute()
		if err == nil || err.Error() != want || out.Len() > 0 {
			t.Errorf("%s\n got %v, %q\nwant %s", line, err, out, want)
		}
	}
}

// An argument check of our own keeps its words.
func TestOwnArgumentChecksStay(t *testing.T) {
	root, _ := tree()
	own := errors.New("which bowl?")
	root.AddCommand(&cobra.Command{Use: "own", Args: func(*cobra.Command, []string) error { return own }, RunE: func(*cobra.Command, []string) error { return nil }})
	plainArgs(root)
	root.SetArgs([]string{"own"})
	if err := root.Execute(); !errors.Is(err, own) || err.Error() != own.Error() {
		t.Errorf("got %v, want %v", err, own)
	}
}

func TestValuesAreCompleted(t *testing.T) {
	for begun, want := range map[string][]string{
		"":     {"red", "green"},
		"r":    {"red", "green"},
		"red,": {"red,red", "red,green"}, // at the end of a list
		"a,b,": {"a,b,red", "a,b,green"},
	} {
		cmd := &cobra.Command{Use: "x"}
		cmd.Flags().String("colour", "", "")
		CompleteValues(cmd, "colour", "red", "green")
		complete, ok := cmd.GetFlagCompletionFunc("colour")
		if !ok {
			t.Fatal("no completion")
		}
		got, directive := complete(cmd, nil, begun)
		if !slices.Equal(got, want) || directive != cobra.ShellCompDirectiveNoFileComp {
			t.Errorf("%q: got %q, %d, want %q and no files", begun, got, directive, want)
		}
	}
}

func TestPlainUsagesForShells(t *testing.T) {
	root, _ := tree()
	PlainUsages(root)
	for _, cmd := range root.Commands() {
		if f := cmd.Flags().Lookup("salt"); f != nil && f.Usage != "so MUCH salt" {
			t.Errorf("got %q", f.Usage)
		}
	}
	if f := root.PersistentFlags().Lookup("server"); f.Usage != "where the KITCHEN is" {
		t.Errorf("got %q", f.Usage)
	}
}
