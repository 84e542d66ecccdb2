package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// completeValues makes the shell complete a flag's values. A list that is
// separated by commas is completed at its end.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
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

// addCompletion adds the command that prints completion scripts. cobra's own
// says the same on two screens a shell.
func addCompletion(root *cobra.Command, a *app) {
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(&cobra.Command{
		Use:     "completion bash|zsh|fish|powershell",
		GroupID: groupOther,
		Short:   "Print a script that makes a shell complete runnel's commands",
		Example: `  source <(runnel completion bash)                  bash-completion is needed
  runnel completion bash > /etc/bash_completion.d/runnel                  always
  runnel completion zsh > "${fpath[1]}/_runnel"
  runnel completion fish > ~/.config/fish/completions/runnel.fish`,
		Args:        cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs:   []string{"bash", "zsh", "fish", "powershell"},
		Annotations: map[string]string{offline: "true"},
		RunE: func(_ *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			}
			return root.GenPowerShellCompletionWithDesc(a.out)
		},
	})
}
