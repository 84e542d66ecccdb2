package feed

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/subjects"
)

// Feeds are those of a fleet.
type Feeds struct {
	Fleet, Runs, Jobs *Feed
}

// OpenAll begins to follow a fleet.
func OpenAll(js jetstream.JetStream, space subjects.Space, log *slog.Logger) *Feeds {
	return &Feeds{
		Fleet: Open(js, Config{Bucket: space.FleetBucket(), All: true, Logger: log}),
		Runs:  Open(js, Config{Bucket: space.RunsBucket(), Logger: log}),
		Jobs:  Open(js, Config{Bucket: space.JobsBucket(), Logger: log}),
	}
}

// Close ends the following.
func (f *Feeds) Close() {
	f.Fleet.Close()
	f.Runs.Close()
	f.Jobs.Close()
}

// RunEnd waits for a run's final record, and returns its JSON. It is for runs
// that were accepted a moment ago: the feed must still have them.
func (f *Feeds) RunEnd(ctx context.Context, id string) ([]byte, error) {
	for {
		changed := f.Runs.Changed()
		if e, ok := f.Runs.Get(id); ok && IsFinal(e.Body) {
			return e.Body, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// IsFinal says whether a run's record is one that never changes.
func IsFinal(body []byte) bool {
	var r struct{ State string }
	return json.Unmarshal(body, &r) == nil && r.State != "" && r.State != "PENDING" && r.State != "RUNNING"
}
