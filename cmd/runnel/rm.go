package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/pb"
)

// newRmCommand is `runnel rm`.
func newRmCommand(a *app) *cobra.Command {
	var older time.Duration
	cmd := &cobra.Command{
		Use:     "rm RUN…",
		GroupID: groupRun,
		Short:   "Remove the output and the record of runs that have ended",
		Example: "  runnel rm 01JD3Q8Z\n  runnel rm --older 48h",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && older <= 0 {
				return errors.New("which run? name it, or use --older")
			}
			return a.withSession(func(s *session) error { return a.rm(cmd.Context(), s, args, older) })
		},
	}
	cmd.Flags().DurationVar(&older, "older", 0, "every run that ended longer ago than this")
	groupFlags(cmd.Flags(), flagsWhat, "older")
	return cmd
}

func (a *app) rm(ctx context.Context, s *session, args []string, older time.Duration) error {
	removed := 0
	remove := func(run *pb.Run) error {
		if err := s.Remove(ctx, run.GetId()); err != nil {
			return fmt.Errorf("cannot remove run %s: %w", run.GetId(), err)
		}
		removed++
		return nil
	}
	for _, arg := range args {
		run, err := s.Find(ctx, arg)
		if err == nil {
			err = remove(run)
		}
		if err != nil {
			return err
		}
	}
	if older > 0 {
		if err := a.rmOlder(ctx, s, time.Now().Add(-older), remove); err != nil {
			return err
		}
	}
	a.say("%s removed", plural(removed, "run"))
	return nil
}

// rmOlder collects first: pages move while runs are removed.
func (a *app) rmOlder(ctx context.Context, s *session, before time.Time, remove func(*pb.Run) error) error {
	query := &pb.Query{All: true, Limit: 1000, States: []pb.State{pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT}}
	var old []*pb.Run
	for {
		reply, err := s.Query(ctx, query)
		if err != nil {
			return err
		}
		for _, run := range reply.GetRuns() {
			if run.GetEnded() != nil && run.GetEnded().AsTime().Before(before) {
				old = append(old, &pb.Run{Id: run.GetId()})
			}
		}
		if query.Next = reply.GetNext(); query.Next == "" {
			break
		}
	}
	p := newProgress(a.err, a.errLook, "runs", len(old))
	defer p.done()
	for _, run := range old {
		if err := remove(run); err != nil {
			return err
		}
		p.add(1)
	}
	return nil
}
