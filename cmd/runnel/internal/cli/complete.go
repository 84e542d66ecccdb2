package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// PlainUsages takes the marks of values out of flags' texts, which shells show as
// they are beside the flags that they complete.
func PlainUsages(cmd *cobra.Command) {
	plain := func(f *pflag.Flag) {
		f.Usage = strings.ReplaceAll(strings.ReplaceAll(f.Usage, "`", ""), "\n", " ")
	}
	cmd.PersistentFlags().VisitAll(plain)
	cmd.Flags().VisitAll(plain)
	for _, sub := range cmd.Commands() {
		PlainUsages(sub)
	}
}

// CompleteValues makes the shell complete a flag's values. A list that is
// separated by commas is completed at its end.
func CompleteValues(cmd *cobra.Command, flag string, values ...string) {
	complete := func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		before := begun[:strings.LastIndex(begun, ",")+1]
		all := make([]string, len(values))
		for i, v := range values {
			all[i] = before + v
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // a slip of ours, seen by any test
	}
}
