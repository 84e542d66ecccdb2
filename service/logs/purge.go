package logs

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
)

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
