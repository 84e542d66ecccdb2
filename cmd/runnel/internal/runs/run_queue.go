package runs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/endings"
	"github.com/runnel-io/runnel/cmd/runnel/internal/output"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/subjects"
)

// queueFlags are those of `runnel run --queue`.
type queueFlags struct {
	is, follow  bool
	priority    string
	retries     int
	retryOn     []string
	backoff     time.Duration
	delay       time.Duration
	notBefore   string
	concurrency string
}

func (q *queueFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&q.is, "queue", false, "store it in the durable queue, for a runner that has a place;\nprint the id and leave")
	flags.BoolVar(&q.follow, "follow", false, "with --queue: wait for it and print what it prints")
	flags.StringVar(&q.priority, "priority", "", "`high|normal|low`: the highest starts first, always (default normal)")
	flags.IntVar(&q.retries, "retries", 0, "try it `N` times more, if an attempt is lost")
	flags.StringSliceVar(&q.retryOn, "retry-on", nil, "what to try it again after: `CAUSES` lost, exit, signal,\ntimeout, oom (default lost)")
	flags.DurationVar(&q.backoff, "backoff", 0, "wait so long before the second attempt, twice that before\nthe third, …")
	flags.DurationVar(&q.delay, "delay", 0, "start it after so long at the earliest")
	flags.StringVar(&q.notBefore, "not-before", "", "start it at a `TIME` at the earliest, such as\n2006-01-02T15:04:05Z")
	flags.StringVar(&q.concurrency, "concurrency", "", "at most N with this key at a time in the fleet: `KEY=N`")
	cli.Group(flags, cli.FlagsQueue, "queue", "follow", "priority", "retries", "retry-on", "backoff", "delay", "not-before", "concurrency")
	cli.CompleteValues(cmd, "priority", subjects.Priorities[:]...)
	cli.CompleteValues(cmd, "retry-on", "lost", "exit", "signal", "timeout", "oom")
}

// validate refuses what doesn't go together.
func (q *queueFlags) validate(where client.Target, detach bool) error {
	if !q.is {
		if q.follow || q.priority != "" || q.retries != 0 || len(q.retryOn) > 0 || q.backoff != 0 || q.delay != 0 || q.notBefore != "" || q.concurrency != "" {
			return errors.New("--follow, --priority, --retries, --retry-on, --backoff, --delay, --not-before and --concurrency go with --queue")
		}
		return nil
	}
	switch {
	case where.On != "" || where.Where != "" || where.All:
		return errors.New("cannot queue for --on, --where or --all: a queue is for a pool; for every runner use schedule --all")
	case q.retries < 0:
		return fmt.Errorf("cannot use --retries %d: it must not be negative", q.retries)
	case q.retries == 0 && (len(q.retryOn) > 0 || q.backoff != 0):
		return errors.New("--retry-on and --backoff go with --retries")
	case q.follow && detach:
		return errors.New("cannot both follow and --detach")
	}
	return nil
}

// apply puts the flags into the task.
func (q *queueFlags) apply(task *pb.Task) error {
	if q.retries > 0 {
		fields := map[string]any{"max": q.retries}
		if q.backoff > 0 {
			fields["backoff"] = q.backoff.String()
		}
		if len(q.retryOn) > 0 {
			on := make([]any, len(q.retryOn))
			for i, cause := range q.retryOn {
				on[i] = cause
			}
			fields["on"] = on
		}
		retries, err := structpb.NewValue(fields)
		if err != nil {
			return fmt.Errorf("cannot use --retries: %w", err)
		}
		task.Retries = retries
	}
	if q.delay > 0 {
		task.Delay = q.delay.String()
	}
	if q.notBefore != "" {
		t, err := time.Parse(time.RFC3339, q.notBefore)
		if err != nil {
			return fmt.Errorf("cannot use --not-before %q: it is a time such as %s", q.notBefore, time.Now().UTC().Format(time.RFC3339))
		}
		task.NotBefore = timestamppb.New(t)
	}
	if q.concurrency != "" {
		at := strings.LastIndex(q.concurrency, "=")
		n, err := strconv.ParseInt(q.concurrency[at+1:], 10, 64)
		if at < 1 || err != nil || n < 1 {
			return fmt.Errorf("cannot use --concurrency %q: it is KEY=N, with N at least 1", q.concurrency)
		}
		task.Concurrency = &pb.Concurrency{Key: q.concurrency[:at], Max: n}
	}
	return nil
}

// queueIt stores the task, prints its id and leaves, or follows it.
func (r *runCommand) queueIt(ctx context.Context, s *app.Session, req *pb.TaskRequest) error {
	id, err := s.Enqueue(ctx, client.Work{Pool: r.where.Pool, Priority: r.queue.priority, Task: req})
	if err != nil {
		return err
	}
	if !r.queue.follow {
		if r.asJSON {
			run, err := s.Whole(ctx, id)
			if err != nil {
				return err
			}
			return r.PrintJSON(run)
		}
		_, err := fmt.Fprintln(r.Out, id)
		return err
	}
	show := output.NewPrinter(r.App, r.asJSON, r.raw)
	last, err := s.FollowWork(ctx, id, func(run *pb.Run) error {
		_, err := s.Follow(ctx, run, client.FollowOptions{Live: true}, show.Record)
		if printing := show.Flush(); err == nil {
			err = printing
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w; the work may go on: runnel logs -f %s", err, id)
	}
	return r.exit(endings.Of(last), last.GetRunner())
}
