package logs

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// freshMaxBytes is how much a Fresh holds for a reader that is slower than the run. Past this, reading from the stream, at
// one's own pace, is the better way.
const freshMaxBytes = 32 << 20

// Fresh listens to the log of a run that is about to be asked for, so that nothing has to be set up to follow it. Either
// Follow takes it, or Close ends it.
//
// It is no synchronous subscription of the client's, because that one makes a channel of half a megabyte at once, which is
// most of what a short run would cost.
type Fresh struct {
	sub      *nats.Subscription
	messages chan *nats.Msg // closed when nothing more can come
	left     chan struct{}  // closed by Close
	close    sync.Once
}

// Listen opens the subscription to a log's subject, or to runner.log.*.<run> where the runner is not known.
func Listen(nc *nats.Conn, subject string) (*Fresh, error) {
	f := &Fresh{messages: make(chan *nats.Msg), left: make(chan struct{})}
	sub, err := nc.Subscribe(subject, f.receive)
	if err != nil {
		return nil, fmt.Errorf("cannot follow %s: %w", subject, err)
	}
	sub.SetClosedHandler(func(string) { close(f.messages) })
	f.sub = sub
	if err := sub.SetPendingLimits(-1, freshMaxBytes); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot follow %s: %w", subject, err)
	}
	return f, nil
}

// receive is called for one message after the other; those that come meanwhile wait in the client.
func (f *Fresh) receive(m *nats.Msg) {
	select {
	case f.messages <- m:
	case <-f.left:
	}
}

// next waits for a message until ctx ends.
func (f *Fresh) next(ctx context.Context) (message, error) {
	select {
	case m, ok := <-f.messages:
		if !ok {
			return message{}, nats.ErrBadSubscription
		}
		return message{runnerSeq: runnerSeq(m.Header), body: m.Data}, nil
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
}

// Close ends it. It may be called more than once.
func (f *Fresh) Close() {
	f.close.Do(func() {
		close(f.left)
		_ = f.sub.Unsubscribe() // fails where the connection is closed, which has ended it as well
	})
}
