package logs

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/subjects"
)

// Kept says whether the stream has anything of a run's output.
func Kept(ctx context.Context, js jetstream.JetStream, run *pb.Run) (bool, error) {
	log := &stored{js, run.GetLogStream(), run.GetLogSubject()}
	_, err := log.last(ctx)
	if errors.Is(err, errNotFound) {
		return false, nil
	}
	return err == nil, err
}

// PurgeLeft removes what is stored of the output of a run whose record is gone, whichever runner had it, and says whether
// there was any.
func PurgeLeft(ctx context.Context, js jetstream.JetStream, space subjects.Space, id string) (bool, error) {
	run := &pb.Run{Id: id, LogStream: space.LogStream(), LogSubject: space.LogAny(id)}
	there, err := Kept(ctx, js, run)
	if err != nil || !there {
		return false, err
	}
	return true, Purge(ctx, js, run)
}

// Purge removes what is stored of a run's output.
func Purge(ctx context.Context, js jetstream.JetStream, run *pb.Run) error {
	stream, err := js.Stream(ctx, run.GetLogStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(run.GetLogSubject()))
	}
	if err != nil {
		return fmt.Errorf("cannot remove the log of run %s: %w", run.GetId(), err)
	}
	return nil
}
