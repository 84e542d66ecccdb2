// Package hosts has the commands that look at runners and at their machines: ls and
// forget, glance, and maint for the clocks.
package hosts

import (
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
)

// Commands are the room's, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newListCommand(a),
		newForgetCommand(a),
		newGlanceCommand(a),
		newMaintCommand(a),
	}
}
