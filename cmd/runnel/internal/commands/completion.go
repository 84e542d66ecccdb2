package commands

import (
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
)

// addCompletion adds the command that prints completion scripts. cobra's own
// says the same on two screens a shell.
func addCompletion(root *cobra.Command, a *app.App) {
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(&cobra.Command{
		Use:     "completion bash|zsh|fish|powershell",
		GroupID: cli.GroupOther,
		Short:   "Print a script that makes a shell complete runnel's commands",
		Example: `  source <(runnel completion bash)                  bash-completion is needed
  runnel completion bash > /etc/bash_completion.d/runnel                  always
  runnel completion zsh > "${fpath[1]}/_runnel"
  runnel completion fish > ~/.config/fish/completions/runnel.fish`,
		Args:        cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs:   []string{"bash", "zsh", "fish", "powershell"},
		Annotations: map[string]string{cli.Offline: "true"},
		RunE: func(_ *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			}
			return root.GenPowerShellCompletionWithDesc(a.Out)
		},
	})
}
