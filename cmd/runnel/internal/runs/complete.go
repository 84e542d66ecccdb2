package runs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
)

// completeRuns is how many runs a shell is offered, the newest.
const completeRuns = 50

var (
	liveStates  = []pb.State{pb.State_PENDING, pb.State_RUNNING}
	finalStates = []pb.State{pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT}
)

// runIDs completes the ids of the newest runs in these states; none: any.
func runIDs(states ...pb.State) app.Completer {
	return func(ctx context.Context, s *app.Session, _ []string) (ids []string, err error) {
		now := time.Now()
		reply, err := asked(ctx, s, &pb.Query{All: true, States: states, Limit: completeRuns})
		for _, run := range reply.GetRuns() {
			text := run.GetState().String() + " " + term.Dash(run.GetRunner()) + " " + term.Ago(now, run.GetCreated().AsTime()) + " " +
				term.Printable(cmp.Or(run.GetName(), run.GetCommand()))
			ids = append(ids, run.GetId()+"\t"+text)
		}
		return ids, err
	}
}

// tagPairs completes the tags of the newest runs, as K=V.
func tagPairs(ctx context.Context, s *app.Session, _ []string) ([]string, error) {
	reply, err := asked(ctx, s, &pb.Query{All: true, Limit: completeRuns})
	count := map[string]int{}
	for _, run := range reply.GetRuns() {
		for key, value := range run.GetTags() {
			count[key+"="+value]++
		}
	}
	var pairs []string
	for _, pair := range slices.Sorted(maps.Keys(count)) {
		pairs = append(pairs, pair+"\t"+term.Plural(count[pair], "run"))
	}
	return pairs, err
}

// completeStates makes the shell complete a flag that names states.
func completeStates(cmd *cobra.Command, flag string) {
	var names []string
	for _, state := range slices.Concat(liveStates, finalStates) {
		names = append(names, state.String())
	}
	cli.CompleteValues(cmd, flag, names...)
}
