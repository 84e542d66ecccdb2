package link

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// newClock tells the NATS server's time: a runner's clock and this host's may be
// hours apart. The fleet's bucket is what every caller may look at.
func (l *Link) newClock() *store.ServerClock {
	return &store.ServerClock{Ask: func(ctx context.Context) (time.Time, error) {
		ctx, done := l.Deniable(ctx, ReadingRecords)
		defer done()
		stream, err := l.JS.Stream(ctx, "KV_"+l.Space.FleetBucket())
		if err != nil {
			return time.Time{}, OrDenied(ctx, err)
		}
		return stream.CachedInfo().TimeStamp, nil
	}}
}

type userKey struct{}

// WithUser says for whom requests with this context are made.
func WithUser(ctx context.Context, user string) context.Context {
	return context.WithValue(ctx, userKey{}, subjects.User(user))
}

// Headers of a request: how it is written, as its reply will be, and how long
// its caller waits, so that a runner that was stopped or cut off does not begin
// then what nobody expects any more. Where the server's time can't be had, a
// request has no deadline.
func (l *Link) Headers(ctx context.Context, patience time.Duration) nats.Header {
	header := nats.Header{subjects.HeaderContentType: []string{subjects.Protobuf}}
	if user, _ := ctx.Value(userKey{}).(string); user != "" {
		header.Set(subjects.HeaderUser, user)
	}
	began := time.Now()
	_, latest, err := l.clock.Bounds(ctx)
	if err != nil {
		return header
	}
	deadline := latest.Add(patience - time.Since(began))
	header.Set(subjects.HeaderDeadline, deadline.UTC().Format(time.RFC3339Nano))
	return header
}
