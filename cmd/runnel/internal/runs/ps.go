package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/endings"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// psCommand is `runnel ps`: the runs of the fleet, newest first.
type psCommand struct {
	*app.App
	states []string
	tags   map[string]string
	limit  int64
	json   bool
	wide   bool
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
	completeStates(cmd, "state")
	a.CompleteFlag(cmd, "tag", tagPairs)
	flags.BoolVar(&p.json, "json", false, "the records, one JSON object a line")
	flags.BoolVarP(&p.wide, "wide", "w", false, "whole ids, names and errors, however narrow the terminal is")
	cli.Group(flags, cli.FlagsOutput, "json", "wide")
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
	table.GiveWay("name", "runner", "") // how it ended comes last
	table.Beginnings("run")
	table.LeaveOut("lines", "for")
	table.Wide = p.wide
	waiting, err := p.waiting(ctx, s, query)
	if err != nil {
		return err
	}
	left := p.limit
	for {
		query.Limit = left
		reply, err := asked(ctx, s, query)
		if err != nil {
			return err
		}
		page := reply.GetRuns()
		if query.Next = reply.GetNext(); query.Next == "" || p.limit > 0 {
			page, waiting = newestFirst(append(page, waiting...)), nil
		}
		if p.limit > 0 {
			page = page[:min(int64(len(page)), left)]
		}
		for _, run := range page {
			if p.json {
				if err := p.PrintJSON(run); err != nil {
					return err
				}
				continue
			}
			p.row(table, run)
		}
		if left -= int64(len(page)); p.limit > 0 && left <= 0 || query.Next == "" {
			break
		}
	}
	if p.json {
		return nil
	}
	return table.Write(p.Out)
}

// asked is a page of a list, also while no runner is there to ask.
func asked(ctx context.Context, s *app.Session, query *pb.Query) (*pb.QueryReply, error) {
	reply, err := s.Query(ctx, query)
	if errors.Is(err, client.ErrNoRunners) {
		return s.QueryRecords(ctx, query)
	}
	return reply, err
}

// waiting is the work of the queue that the list is about.
func (p *psCommand) waiting(ctx context.Context, s *app.Session, q *pb.Query) ([]*pb.Run, error) {
	if len(q.GetStates()) > 0 && !slices.Contains(q.GetStates(), pb.State_PENDING) {
		return nil, nil
	}
	matches := func(run *pb.Run) bool {
		for key, value := range q.GetTags() {
			if have, ok := run.GetTags()[key]; !ok || have != value {
				return false
			}
		}
		return true
	}
	limit := int(p.limit)
	if limit == 0 {
		limit = math.MaxInt32
	}
	return s.NewestWaiting(ctx, limit, matches)
}

func newestFirst(runs []*pb.Run) []*pb.Run {
	slices.SortStableFunc(runs, func(a, b *pb.Run) int { return b.GetCreated().AsTime().Compare(a.GetCreated().AsTime()) })
	return runs
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
	table.Add(run.GetId(), stateCell(run.GetState()), term.Dash(run.GetRunner()), started, lasted, lines, cmp.Or(run.GetName(), run.GetCommand()), howItEnded(run))
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
	return endings.Briefly(endings.Of(run))
}
