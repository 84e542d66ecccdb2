// Package runs has the commands that start runs, follow them, look at them and end
// them. run_one.go and run_all.go are the two ways of `runnel run`.
package runs

import (
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
)

// Commands are the room's, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newRunCommand(a),
		newCodeCommand(a),
		newLogsCommand(a),
		newShowCommand(a),
		newPsCommand(a),
		newWaitCommand(a),
		newAbortCommand(a),
		newRmCommand(a),
	}
}
