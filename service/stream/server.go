package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrOldServer is, for errors.Is, that of every OldServerError.
var ErrOldServer = errors.New("the NATS server is too old")

// OldServerError says what a server can't do.
type OldServerError struct {
	What    string
	Minor   int // of version 2 that can
	Version string
}

func (e *OldServerError) Error() string {
	return fmt.Sprintf("%s nats-server 2.%d or later: this one is %s", e.What, e.Minor, e.Version)
}

// Is makes it ErrOldServer.
func (e *OldServerError) Is(target error) bool { return target == ErrOldServer }

// Need says whether the server of a connection is older than version 2.minor, which
// what needs, such as "schedules need". One whose version says nothing, such as a
// build of somebody's own, is not: JetStream decides. Error: *OldServerError.
func Need(nc *nats.Conn, what string, minor int) error {
	version := strings.TrimPrefix(nc.ConnectedServerVersion(), "v")
	var x, y int
	if n, _ := fmt.Sscanf(version, "%d.%d", &x, &y); n == 2 && (x < 2 || x == 2 && y < minor) {
		return &OldServerError{what, minor, version}
	}
	return nil
}

// Replicas are as many as a stream has: what is worth no less gets as many. One
// where the stream can't be found.
func Replicas(ctx context.Context, js jetstream.JetStream, name string) int {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return 1
	}
	return max(1, s.CachedInfo().Config.Replicas)
}
