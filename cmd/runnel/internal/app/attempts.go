package app

import (
	"context"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// FollowWork calls each with every attempt of work, the first as well if it is over
// before anybody looks, and returns the last one, final.
func (s *Session) FollowWork(ctx context.Context, id string, each func(*pb.Run) error) (*pb.Run, error) {
	run, err := s.Wait(ctx, id, begun...)
	if err == nil && run.GetAttempt() > 1 {
		run, err = s.Attempt(ctx, id, 1)
	}
	if err != nil {
		return nil, err
	}
	return s.followFrom(ctx, run, each)
}

// begun are the states of a run that waits no more.
var begun = []pb.State{pb.State_RUNNING, pb.State_COMPLETE, pb.State_FAILED, pb.State_ABORTED, pb.State_TIMEDOUT}

// FollowWhole calls each with every attempt of work that begins from now on, the
// one that runs now included, and returns the last one, final.
func (s *Session) FollowWhole(ctx context.Context, id string, each func(*pb.Run) error) (*pb.Run, error) {
	run, err := s.Wait(ctx, id, begun...)
	if err != nil {
		return nil, err
	}
	return s.followFrom(ctx, run, each)
}

// followFrom is FollowWhole from an attempt on.
func (s *Session) followFrom(ctx context.Context, run *pb.Run, each func(*pb.Run) error) (_ *pb.Run, err error) {
	for err == nil {
		if err := each(run); err != nil {
			return nil, err
		}
		if run, err = s.WaitAttempt(ctx, run.GetId()); err != nil || run.GetNext() == "" {
			return run, err
		}
		run, err = s.WaitBegun(ctx, run.GetNext())
	}
	return nil, err
}

// FindWhole is Find, where an id of work means its last attempt.
func (s *Session) FindWhole(ctx context.Context, id string) (*pb.Run, error) {
	run, err := s.Find(ctx, id)
	if err != nil || run.GetQueued() == nil || run.GetAttempt() > 1 || client.IsWaiting(run) {
		return run, err
	}
	return s.Whole(ctx, run.GetId())
}
