package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

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
