package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// AnswerTimeout is how long one write, or one read of the leader, waits for
	// its answer before it is sent again: short, as a reconnect loses answers,
	// and as it does no harm to ask twice.
	AnswerTimeout = 1500 * time.Millisecond
	// RequestTimeout is the same for what takes the server longer.
	RequestTimeout = 5 * time.Second
)

// IsWrongLast says whether a publish was refused because its subject's last
// message is another one than expected.
func IsWrongLast(err error) bool {
	var e *jetstream.APIError
	// Streams with replicas have a code of their own for it.
	return errors.As(err, &e) && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// IsTransient says whether trying again may help: no answer, no leader, no
// connection at the moment. What the server or the client refuses is refused
// for good.
func IsTransient(err error) bool {
	var e *jetstream.APIError
	if errors.As(err, &e) {
		return e.Code == 503 // also "JetStream not enabled", which a server says while it starts
	}
	for _, final := range []error{nats.ErrConnectionClosed, nats.ErrMaxPayload, nats.ErrBadSubject,
		nats.ErrAuthorization, nats.ErrPermissionViolation, jetstream.ErrInvalidBucketName, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// RetryWait is how long to wait before the next try, from 1: 25 ms, growing to
// a second.
func RetryWait(try int) time.Duration {
	return min(25*time.Millisecond<<min(try, 6), time.Second)
}

// Pause waits and says whether ctx has not ended.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
