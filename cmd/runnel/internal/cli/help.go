package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroup is a heading that flags stand under in the help of a command.
type flagGroup string

const (
	FlagsWhat      flagGroup = "What"
	FlagsWhere     flagGroup = "Where"
	FlagsWhen      flagGroup = "When"
	FlagsHow       flagGroup = "How"
	FlagsQueue     flagGroup = "The queue"
	FlagsPipelines flagGroup = "Pipelines"
	FlagsHTTP      flagGroup = "HTTP"
	FlagsLimits    flagGroup = "Limits"
	FlagsOutput    flagGroup = "Output"
	flagsOther     flagGroup = "Flags"
	FlagsGlobal    flagGroup = "General"
	FlagsConnect   flagGroup = "Connection, as in the nats command"
)

// Reading order; a flag without a group is in flagsOther.
var flagGroups = []flagGroup{FlagsWhat, FlagsWhen, FlagsWhere, FlagsHow, FlagsQueue, FlagsPipelines, FlagsHTTP, FlagsLimits, FlagsOutput, flagsOther, FlagsGlobal, FlagsConnect}

// Offline marks commands that no server is needed for: their help is without
// the connection flags.
const Offline = "runnel_offline"

const HelpWidth = 80

func Group(flags *pflag.FlagSet, group flagGroup, names ...string) {
	for _, name := range names {
		annotate(flags, name, groupAnnotation, string(group))
	}
}

// StyleHelp gives a command and its subcommands our help: a sentence,
// examples, commands and flags under headings.
func StyleHelp(root *cobra.Command) {
	plainArgs(root)
	root.SetHelpCommand(&cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command", GroupID: GroupOther,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no command %q (see %s --help)", strings.Join(args, " "), cmp.Or(cmd, root).CommandPath())
			}
			return cmd.Help()
		},
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { WriteHelp(cmd.OutOrStdout(), cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		writeUsage(cmd.OutOrStderr(), cmd)
		return nil
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var e *pflag.InvalidValueError
		if errors.As(err, &e) {
			err = fmt.Errorf("cannot use --%s %q: %w", e.GetFlag().Name, e.GetValue(), plainFlagError(err))
		}
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
}

// plainArgs says in our words which arguments are missing or too many.
func plainArgs(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		plainArgs(sub)
	}
	check := cmd.Args
	if check == nil || cmd == cmd.Root() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		isCobras := func(prefix string) bool { return err != nil && strings.HasPrefix(err.Error(), prefix) }
		switch {
		case !isCobras("accepts ") && !isCobras("requires ") && !isCobras("unknown command"):
			return err
		case len(args) == 0:
			return fmt.Errorf("an argument is missing: %s (see %s --help)", cmd.UseLine(), cmd.CommandPath())
		default:
			return fmt.Errorf("cannot use the argument %q: %s (see %s --help)", args[len(args)-1], cmd.UseLine(), cmd.CommandPath())
		}
	}
}

// endBlanks are what wrapping fills lines up with.
var endBlanks = regexp.MustCompile(`(?m) +$`)

func WriteHelp(w io.Writer, cmd *cobra.Command) {
	sentence := text.WrapSoft(strings.TrimSuffix(cmp.Or(cmd.Long, cmd.Short), "."), HelpWidth)
	fmt.Fprintf(w, "%s.\n", endBlanks.ReplaceAllString(sentence, ""))
	if cmd.Example != "" {
		fmt.Fprintf(w, "\n%s\n", cmd.Example)
	}
	fmt.Fprintln(w)
	writeUsage(w, cmd)
}

func writeUsage(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintln(w, "Usage:", cmd.UseLine())
	writeCommands(w, cmd)
	cmd.InitDefaultHelpFlag()
	for _, group := range flagGroups {
		if group == FlagsConnect && cmd.Annotations[Offline] != "" {
			continue
		}
		if flags := flagsOf(cmd, group); flags.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s\n%s", group, flags.FlagUsagesWrapped(HelpWidth))
		}
	}
}

func writeCommands(w io.Writer, cmd *cobra.Command) {
	for _, group := range cmd.Groups() {
		var lines []string
		for _, sub := range cmd.Commands() {
			if sub.GroupID == group.ID && sub.IsAvailableCommand() {
				lines = append(lines, fmt.Sprintf("  %-12s %s\n", sub.Name(), sub.Short))
			}
		}
		if len(lines) > 0 {
			fmt.Fprintf(w, "\n%s\n%s", group.Title, strings.Join(lines, ""))
		}
	}
	if len(cmd.Groups()) > 0 || !cmd.HasAvailableSubCommands() {
		return
	}
	fmt.Fprintln(w)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			fmt.Fprintf(w, "  %-12s %s\n", sub.Name(), sub.Short)
		}
	}
}

// flagsOf is the set of a command's flags, inherited ones too, that stand
// under a heading. The variable that sets a flag is added to its text.
func flagsOf(cmd *cobra.Command, group flagGroup) *pflag.FlagSet {
	set := pflag.NewFlagSet(string(group), pflag.ContinueOnError)
	set.SortFlags = false
	var names []string
	add := func(f *pflag.Flag) {
		if slices.Contains(names, f.Name) || groupOf(f) != group {
			return
		}
		names = append(names, f.Name)
		shown := *f
		shown.Usage = strings.ReplaceAll(shown.Usage, "\n", " ") // it is wrapped to the width that is left
		if shown.DefValue == "[]" && shown.Value.Type() == "stringToString" {
			shown.DefValue = "" // an empty map says nothing; of lists pflag knows it
		}
		if variable := envOf(f); variable != "" {
			shown.Usage += " [" + variable + "]"
		}
		set.AddFlag(&shown)
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return set
}

func groupOf(f *pflag.Flag) flagGroup {
	if g := f.Annotations[groupAnnotation]; len(g) > 0 {
		return flagGroup(g[0])
	}
	if f.Name == "help" {
		return FlagsGlobal
	}
	return flagsOther
}

// The groups that `runnel help` shows.
const (
	GroupRun   = "run"
	GroupFleet = "fleet"
	GroupServe = "serve"
	GroupOther = "other"
)

// KnownCommand refuses what is no command, and says which one was meant.
func KnownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no command %q (see runnel --help)", args[0])
}
