package queues

import (
	"context"
	"slices"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/pb"
)

// completeWork is how much work a shell is offered, the newest.
const completeWork = 50

// waitingIDs completes the ids of work that waits.
func waitingIDs(ctx context.Context, s *app.Session, _ []string) ([]string, error) {
	all, err := s.NewestWaiting(ctx, completeWork, func(*pb.Run) bool { return true })
	return described(all), err
}

// failedIDs completes the ids of work that can be tried again.
func failedIDs(ctx context.Context, s *app.Session, _ []string) ([]string, error) {
	all, err := s.FailedWork(ctx)
	return described(all[:min(len(all), completeWork)]), err
}

// workIDs completes the ids of all that waits or has failed.
func workIDs(ctx context.Context, s *app.Session, args []string) ([]string, error) {
	waiting, err := waitingIDs(ctx, s, args)
	if err != nil {
		return waiting, err
	}
	failed, err := failedIDs(ctx, s, args)
	return slices.Concat(waiting, failed), err
}

func described(all []*pb.Run) (ids []string) {
	for _, run := range all {
		ids = append(ids, run.GetGroup()+"\t"+run.GetState().String()+", pool "+run.GetQueued().GetPool()+" "+term.Printable(run.GetName()))
	}
	return ids
}
