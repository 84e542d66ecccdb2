package runs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/store"
)

// newAbortCommand is `runnel abort`.
func newAbortCommand(a *app.App) *cobra.Command {
	var asJSON bool
	var tags map[string]string
	cmd := &cobra.Command{
		Use:     "abort RUN…",
		GroupID: cli.GroupRun,
		Short:   "End runs, and everything that they started",
		Example: "  runnel abort 01JD3Q8Z          the beginning of an id that runnel made\n  runnel abort deploy-1          an id of your own, in full\n  runnel abort --tag team=web",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(tags) == 0 {
				return errors.New("which run? name it, or use --tag")
			}
			if len(args) > 0 && len(tags) > 0 {
				return errors.New("cannot use ids together with --tag: name the runs, or give tags that all of them have")
			}
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error {
				ids, err := idsOf(ctx, s, args, tags)
				if err != nil {
					return err
				}
				return abort(ctx, s, ids, asJSON)
			})
		},
	}
	cmd.ValidArgsFunction = a.Complete(runIDs(liveStates...))
	flags := cmd.Flags()
	flags.Var(cli.KeyValues{To: &tags}, "tag", "every live run with the tag `K=V`; may be repeated, for several tags")
	a.CompleteFlag(cmd, "tag", tagPairs)
	cli.Group(flags, cli.FlagsWhat, "tag")
	flags.BoolVar(&asJSON, "json", false, "the records, one JSON object a line")
	cli.Group(flags, cli.FlagsOutput, "json")
	return cmd
}

// idsOf are the runs that were named, or the live ones with these tags.
func idsOf(ctx context.Context, s *app.Session, args []string, tags map[string]string) ([]string, error) {
	var ids []string
	for _, arg := range args {
		run, err := findExactly(ctx, s, arg)
		if err != nil {
			return nil, err
		}
		ids = append(ids, run.GetId())
	}
	query := &pb.Query{All: true, Tags: tags, States: liveStates}
	for len(tags) > 0 {
		reply, err := s.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, run := range reply.GetRuns() {
			ids = append(ids, run.GetId())
		}
		if query.Next = reply.GetNext(); query.Next == "" {
			break
		}
	}
	return ids, nil
}

// abortPatience is how long one request waits for the end.
const abortPatience = 2 * time.Second

// abort asks all to end first, and then waits for each.
func abort(ctx context.Context, s *app.Session, ids []string, asJSON bool) error {
	if len(ids) == 0 {
		s.App.Say("no live run has these tags")
	}
	if len(ids) > 1 {
		if err := s.AbortAll(ctx, ids); err != nil && !isAway(err) {
			return err
		}
	}
	for _, id := range ids {
		run, err := abortOne(ctx, s, id)
		if err != nil {
			return err
		}
		if !store.Final(run.GetState()) {
			s.App.Say("%s is ending; waiting", id)
			if run, err = s.Wait(ctx, id); err != nil {
				return err
			}
		}
		if asJSON {
			err = s.App.PrintJSON(run)
		} else {
			_, err = fmt.Fprintln(s.App.Out, id, sentence(run))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// abortOne asks again while a run's runner is away: it comes back, or the run is
// lost.
func abortOne(ctx context.Context, s *app.Session, id string) (*pb.Run, error) {
	for said := false; ; said = true {
		run, err := s.Abort(ctx, id, abortPatience)
		if !isAway(err) {
			return run, err
		}
		if !said {
			s.App.Say("%v; waiting", err)
		}
		select {
		case <-time.After(abortPatience):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// isAway: the run's runner doesn't answer, and is not lost yet.
func isAway(err error) bool { return client.Code(err) == http.StatusServiceUnavailable }

// sentence says how a run is doing, or how it ended.
func sentence(run *pb.Run) string {
	if how := howItEnded(run); how != "" {
		return run.GetState().String() + ", " + how
	}
	return run.GetState().String()
}
