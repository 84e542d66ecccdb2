package runs

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// findExactly finds the run that a command is to end or remove. It takes a whole
// id, or the beginning of one that we made (a ULID), which nobody counts up: where
// people number their runs, deploy-1 is not a short form of deploy-10.
func findExactly(ctx context.Context, s *app.Session, id string) (*pb.Run, error) {
	run, err := s.Find(ctx, id)
	if err != nil || run.GetId() == id {
		return run, err
	}
	if _, err := ulid.ParseStrict(run.GetId()); err != nil {
		return nil, fmt.Errorf("%w %s; there is %s, and a name of your own must be whole here", client.ErrUnknownRun, id, run.GetId())
	}
	return run, nil
}
