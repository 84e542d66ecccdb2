package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// psCommand is `runnel ps`: the runs of the fleet, newest first.
type psCommand struct {
	*app.App
	states []string
	tags   map[string]string
	limit  int64
	json   bool
}

func newPsCommand(a *app.App) *cobra.Command {
	p := &psCommand{App: a}
	cmd := &cobra.Command{
		Use:     "ps",
		GroupID: cli.GroupRun,
		Short:   "List runs, newest first",
		Example: "  runnel ps\n  runnel ps --state RUNNING,PENDING\n  runnel ps --tag team=web --limit 0",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return p.run(ctx, s) })
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&p.states, "state", nil, "runs in these `STATES` only, such as RUNNING,FAILED")
	flags.Var(cli.KeyValues{To: &p.tags}, "tag", "runs with the tag `K=V` only; may be repeated")
	flags.Int64Var(&p.limit, "limit", 20, "at most `N` runs; 0: all")
	cli.Group(flags, cli.FlagsWhat, "state", "tag", "limit")
	cli.CompleteValues(cmd, "state", slices.Sorted(maps.Keys(pb.State_value))...)
	flags.BoolVar(&p.json, "json", false, "the records, one JSON object a line")
	cli.Group(flags, cli.FlagsOutput, "json")
	return cmd
}

func (p *psCommand) run(ctx context.Context, s *app.Session) error {
	query := &pb.Query{All: true, Tags: p.tags}
	for _, name := range p.states {
		state, ok := pb.State_value[strings.ToUpper(name)]
		if !ok {
			return fmt.Errorf("there is no state %q: it is one of PENDING, RUNNING, COMPLETE, FAILED, ABORTED, TIMEDOUT", name)
		}
		query.States = append(query.States, pb.State(state))
	}
	if p.limit < 0 {
		return errors.New("cannot use --limit: it must not be negative")
	}
	table := term.NewTable(p.Look, "run", "state", "runner", "started", "for", "lines", "name", "")
	table.AlignRight("for", "lines")
	table.GiveWay("name", "", "runner") // and not the run: its id is what one needs
	left := p.limit
	for {
		query.Limit = left
		reply, err := s.Query(ctx, query)
		if err != nil {
			return err
		}
		for _, run := range reply.GetRuns() {
			if p.json {
				if err := p.PrintJSON(run); err != nil {
					return err
				}
				continue
			}
			p.row(table, run)
		}
		if p.limit > 0 {
			if left -= int64(len(reply.GetRuns())); left <= 0 {
				break
			}
		}
		if query.Next = reply.GetNext(); query.Next == "" {
			break
		}
	}
	if p.json {
		return nil
	}
	return table.Write(p.Out)
}

func (p *psCommand) row(table *term.Table, run *pb.Run) {
	now := time.Now()
	started, lasted := "-", "-"
	if run.GetStarted() != nil {
		started, lasted = term.Ago(now, run.GetStarted().AsTime()), took(run, now)
	}
	lines := "-"
	if run.GetEnded() != nil {
		lines = fmt.Sprint(run.GetLines())
	}
	table.Add(run.GetId(), stateCell(run.GetState()), run.GetRunner(), started, lasted, lines, cmp.Or(run.GetName(), run.GetCommand()), howItEnded(run))
}

// stateCell is the state in its colour; the word says it all.
func stateCell(s pb.State) term.Painted {
	switch s {
	case pb.State_COMPLETE:
		return term.Painted{Colour: term.Green, Text: s.String()}
	case pb.State_FAILED, pb.State_TIMEDOUT:
		return term.Painted{Colour: term.Red, Text: s.String()}
	case pb.State_ABORTED:
		return term.Painted{Colour: term.Yellow, Text: s.String()}
	}
	return term.Painted{Colour: term.Faint, Text: s.String()}
}

// howItEnded is what the state does not say; nothing, if it says it all.
func howItEnded(run *pb.Run) string {
	switch {
	case run.GetAborting():
		return "aborting"
	case !store.Final(run.GetState()):
		return ""
	case run.GetState() == pb.State_TIMEDOUT && run.GetError() == "" && run.GetStarted() != nil:
		return "after " + took(run, time.Time{})
	case run.GetState() == pb.State_ABORTED && run.GetError() == "":
		return ""
	}
	return briefly(endOf(run))
}
