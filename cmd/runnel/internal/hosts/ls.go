package hosts

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// newListCommand is `runnel ls`: the fleet, online or not.
func newListCommand(a *app.App) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		GroupID: cli.GroupFleet,
		Short:   "List the runners, online or not",
		Example: "  runnel ls\n  runnel ls --watch\n  runnel ls --json | jq -r 'select(.online) | .card.name'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				if watch {
					return watchList(ctx, a, s, asJSON)
				}
				return listRunners(ctx, a, s, asJSON)
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with changes, until interrupted")
	cli.Group(cmd.Flags(), cli.FlagsWhat, "watch")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a runner")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
	return cmd
}

func listRunners(ctx context.Context, a *app.App, s *app.Session, asJSON bool) error {
	runners, err := s.Runners(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		for _, r := range runners {
			if err := printRunnerJSON(a, r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(runners) == 0 {
		a.Say("no runner has been seen yet; runnel serve starts one")
		return nil
	}
	return runnersTable(a.Look, runners).Write(a.Out)
}

func runnersTable(l term.Look, runners []client.Runner) *term.Table {
	table := term.NewTable(l, "runner", "state", "running", "pools", "labels", "clock", "version", "seen")
	table.GiveWay("labels", "pools", "runner")
	for _, r := range runners {
		table.Add(runnerRow(r)...)
	}
	return table
}

func runnerRow(r client.Runner) []any {
	c := r.Card
	running, clock := "-", any("-")
	if r.Online {
		running = fmt.Sprintf("%d/%d", c.GetRunning(), c.GetSlots())
		if c.ClockOffset != nil {
			clock = offset(c.GetClockOffset())
		}
	}
	return []any{
		c.GetName(), runnerState(r), running, strings.Join(c.GetPools(), ","), term.Labels(c.GetLabels()),
		clock, c.GetVersion(), term.WholeSeconds(r.Age),
	}
}

// runnerState is the state in a word; a ready runner is online.
func runnerState(r client.Runner) term.Painted {
	state := r.Card.GetState()
	switch {
	case !r.Online:
		return term.Painted{Colour: term.Red, Text: "offline"}
	case state == "ready" || state == "":
		return term.Painted{Colour: term.Green, Text: "online"}
	case state == "unhealthy":
		return term.Painted{Colour: term.Red, Text: state + "!"}
	}
	return term.Painted{Colour: term.Yellow, Text: state}
}

// badOffset marks a clock that is this far off, in milliseconds.
const badOffset = 1000

// offset is a clock's, in milliseconds: +0.2ms, or +7.21s! when it is bad.
func offset(ms float64) any {
	if ms >= badOffset || ms <= -badOffset {
		return term.Painted{Colour: term.Red, Text: offsetText(ms) + "!"}
	}
	return offsetText(ms)
}

// printRunnerJSON prints a card as it is on the wire, and how it was seen.
func printRunnerJSON(a *app.App, r client.Runner) error {
	card, err := pb.MarshalJSON(r.Card)
	if err != nil {
		return err
	}
	return json.NewEncoder(a.Out).Encode(struct {
		Online    bool            `json:"online"`
		LastSeen  time.Time       `json:"lastSeen"`
		Forgotten bool            `json:"forgotten,omitempty"`
		Card      json.RawMessage `json:"card"`
	}{r.Online, r.LastSeen.UTC(), r.Forgotten, card})
}
