package runs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/store"
)

// newShowCommand is `runnel show`: everything that is known of a run.
func newShowCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID",
		GroupID: cli.GroupRun,
		Short:   "Show what is known of a run",
		Example: "  runnel show 01JD3Q8Z\n  runnel show 01JD3Q8Z --json | jq .exitCode",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.WithSession(cmd.Context(), func(ctx context.Context, s *app.Session) error { return showRun(ctx, s, args[0], asJSON) })
		},
	}
	cmd.ValidArgsFunction = a.Complete(app.Once(runIDs()))
	cmd.Flags().BoolVar(&asJSON, "json", false, "the record as one JSON object")
	cli.Group(cmd.Flags(), cli.FlagsOutput, "json")
	return cmd
}

func showRun(ctx context.Context, s *app.Session, id string, asJSON bool) error {
	run, err := s.FindWhole(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return s.App.PrintJSON(run)
	}
	for _, field := range runFields(run, time.Now()) {
		if field.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(s.App.Out, "%-10s %s\n", field.name, term.Printable(field.value)); err != nil {
			return err
		}
	}
	return nil
}

type field struct{ name, value string }

// runFields are a record's fields for people; those that say nothing are empty.
func runFields(run *pb.Run, now time.Time) []field {
	final := store.Final(run.GetState())
	fields := []field{
		{"run", run.GetId()},
		{"name", run.GetName()},
		{"command", run.GetCommand()},
		{"group", run.GetGroup()},
		{"runner", run.GetRunner()},
		{"state", sentence(run)},
		{"error", run.GetError()},
		{"queue", queueText(run)},
		{"next", run.GetNext()},
		{"tags", term.Labels(run.GetTags())},
		{"created", moment(run.GetCreated(), now)},
		{"started", moment(run.GetStarted(), now)},
		{"ended", moment(run.GetEnded(), now)},
		{"took", took(run, now)},
	}
	if final {
		fields = append(fields, field{"output", outputText(run)})
		if run.GetSha256() != "" {
			fields = append(fields, field{"sha256", run.GetSha256()})
		}
		fields = append(fields,
			field{"cpu", fmt.Sprintf("%.2fs", run.GetCpuTime())},
			field{"memory", peakText(run.GetPeakMemory())},
		)
	}
	if run.GetLogSubject() == "" { // it waits in the queue
		return fields
	}
	return append(fields,
		field{"log", run.GetLogStream() + " " + run.GetLogSubject()},
	)
}

// queueText says where work waits or has waited, and which attempt this is.
func queueText(run *pb.Run) string {
	q := run.GetQueued()
	if q == nil {
		return ""
	}
	return fmt.Sprintf("pool %s, priority %s, attempt %d of %d", q.GetPool(), q.GetPriority(), run.GetAttempt(), max(q.GetRetries()+1, run.GetAttempt()))
}

// peakText: nobody measured where it is 0.
func peakText(bytes int64) string {
	if bytes <= 0 {
		return "-"
	}
	return humanize.IBytes(uint64(bytes))
}

func outputText(run *pb.Run) string {
	parts := []string{term.Plural(int(run.GetLines()), "line"), term.Size(run.GetBytes())}
	if run.GetDropped() > 0 || run.GetDroppedBytes() > 0 {
		parts = append(parts, fmt.Sprintf("%s dropped (%s)", term.Plural(int(run.GetDropped()), "line"), term.Size(run.GetDroppedBytes())))
	}
	if !run.GetLogComplete() {
		parts = append(parts, "not complete")
	}
	return strings.Join(parts, ", ")
}

func moment(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s)", t.AsTime().Local().Format(time.DateTime), term.Ago(now, t.AsTime()))
}

// took is how long the run has run, or ran.
func took(run *pb.Run, now time.Time) string {
	if run.GetStarted() == nil {
		return ""
	}
	end := now
	if run.GetEnded() != nil {
		end = run.GetEnded().AsTime()
	}
	return term.ShortDuration(max(0, end.Sub(run.GetStarted().AsTime())))
}
