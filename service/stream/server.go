package stream

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// OlderThan says whether the server of a connection is older than version 2.minor,
// and which one it is. One whose version says nothing, such as a build of
// somebody's own, is not: JetStream decides.
func OlderThan(nc *nats.Conn, minor int) (version string, older bool) {
	version = strings.TrimPrefix(nc.ConnectedServerVersion(), "v")
	var x, y int
	if n, _ := fmt.Sscanf(version, "%d.%d", &x, &y); n < 2 {
		return version, false
	}
	return version, x < 2 || x == 2 && y < minor
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
