// Package room is what the rooms of the gateway share: the fleet that they
// serve, and how they say which routes are theirs.
package room

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/gateway/auth"
	"github.com/runnel-io/runnel/service/gateway/feed"
	"github.com/runnel-io/runnel/service/gateway/tails"
	"github.com/runnel-io/runnel/service/pipeline/records"
	"github.com/runnel-io/runnel/subjects"
)

// House is what a handler needs: one for all rooms of a gateway. Who asks is
// auth.CallerOf the request's context.
type House struct {
	Space  subjects.Space
	JS     jetstream.JetStream
	Client *client.Client
	Guard  *auth.Guard
	Mirror *records.Mirror // pipelines and jobs, as a watch keeps them
	Log    *slog.Logger
	Feeds  *feed.Feeds   // what changes in the fleet
	Tails  *tails.Tails  // logs that are being followed
	Doc    *huma.OpenAPI // describes the routes
	// Version of this program.
	Version string
	// Life ends when the gateway stops; what streams ends by it, and its clients
	// go on at another gateway.
	Life context.Context
	// Stopping: no new work is taken.
	Stopping *atomic.Bool
}

// Route is one row of the gateway's table.
type Route struct {
	Method string
	Path   string // a pattern of http.ServeMux
	Scope  auth.Scope
	Handle http.HandlerFunc
}

// Room gives the routes of one part of the gateway.
type Room func(*House) []Route

// Job is a job as it is now. One that has ended is at hand; any other the engine
// is asked for.
func (h *House) Job(ctx context.Context, id string) (*pb.Job, error) {
	if job := h.Mirror.Ended(id); job != nil {
		return job, nil
	}
	return h.Client.Job(ctx, id)
}

// Synced waits for a moment until the mirror has everything; a gateway that has
// just started must not say that there is nothing.
func (h *House) Synced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-h.Mirror.Ready():
		return nil
	case <-ctx.Done():
		return errors.New("the pipelines are still being read")
	}
}
