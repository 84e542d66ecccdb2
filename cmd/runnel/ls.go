package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// newListCommand is `runnel ls`: the fleet, online or not.
func newListCommand(a *app) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		GroupID: groupFleet,
		Short:   "List the runners, online or not",
		Example: "  runnel ls\n  runnel ls --watch\n  runnel ls --json | jq -r 'select(.online) | .card.name'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSession(cmd.Context(), func(s *session) error {
				if watch {
					return a.watchList(cmd.Context(), s, asJSON)
				}
				return a.list(cmd.Context(), s, asJSON)
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with what changes, until interrupted")
	groupFlags(cmd.Flags(), flagsWhat, "watch")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a runner")
	groupFlags(cmd.Flags(), flagsOutput, "json")
	return cmd
}

func (a *app) list(ctx context.Context, s *session, asJSON bool) error {
	runners, err := s.Runners(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		for _, r := range runners {
			if err := a.printRunnerJSON(r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(runners) == 0 {
		a.say("no runner has been seen yet; runnel serve starts one")
		return nil
	}
	return runnersTable(a.look, runners).write(a.out)
}

func runnersTable(l look, runners []client.Runner) *columns {
	table := newColumns(l, "runner", "state", "running", "pools", "labels", "clock", "version", "seen")
	table.giveWay("labels", "pools", "runner")
	for _, r := range runners {
		table.add(runnerRow(r)...)
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
		c.GetName(), runnerState(r), running, strings.Join(c.GetPools(), ","), labels(c.GetLabels()),
		clock, c.GetVersion(), wholeSeconds(r.Age),
	}
}

// runnerState is the state in a word; a ready runner is online.
func runnerState(r client.Runner) painted {
	state := r.Card.GetState()
	switch {
	case !r.Online:
		return painted{red, "offline"}
	case state == "ready" || state == "":
		return painted{green, "online"}
	case state == "unhealthy":
		return painted{red, state + "!"}
	}
	return painted{yellow, state}
}

// badOffset marks a clock that is this far off, in milliseconds.
const badOffset = 1000

// offset is a clock's, in milliseconds: +0.2ms, or +7.21s! when it is bad.
func offset(ms float64) any {
	if ms >= badOffset || ms <= -badOffset {
		return painted{red, offsetText(ms) + "!"}
	}
	return offsetText(ms)
}

func labels(m map[string]string) string {
	var all []string
	for _, key := range sortedKeys(m) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, ",")
}

// printRunnerJSON prints a card as it is on the wire, and how it was seen.
func (a *app) printRunnerJSON(r client.Runner) error {
	card, err := pb.MarshalJSON(r.Card)
	if err != nil {
		return err
	}
	return json.NewEncoder(a.out).Encode(struct {
		Online    bool            `json:"online"`
		LastSeen  time.Time       `json:"lastSeen"`
		Forgotten bool            `json:"forgotten,omitempty"`
		Card      json.RawMessage `json:"card"`
	}{r.Online, r.LastSeen.UTC(), r.Forgotten, card})
}
