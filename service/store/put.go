package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// answerTimeout is how long one write, or one read of the leader, waits for
	// its answer before it is sent again: short, as a reconnect loses answers,
	// and as it does no harm to ask twice.
	answerTimeout = 1500 * time.Millisecond
	// requestTimeout is the same for what takes the server longer.
	requestTimeout = 5 * time.Second
)

// write is what put does.
type write struct {
	key  string
	body []byte
	// create: the key must not be there. expect is then found out.
	create bool
	// expect is the revision that the key must have.
	expect uint64
	// ttl removes it after that time; 0 keeps it.
	ttl time.Duration
}

// conflictError says what was there instead of the expected revision.
type conflictError struct {
	now  entry
	gone bool
}

func (e *conflictError) Error() string {
	return fmt.Sprintf("revision is %d", e.now.rev)
}

// put writes a key if it is at the expected revision and goes on trying until
// the server has said yes or no, or ctx ends. "No" is a *conflictError.
func (b *bucket) put(ctx context.Context, w write) (uint64, error) {
	unsure := false // an attempt without an answer: it may have been stored
	for try := 1; ; try++ {
		rev, err := b.attempt(ctx, w)
		if err == nil {
			return rev, nil
		}
		switch {
		case isWrongRevision(err):
			now, getErr := b.getLeader(ctx, w.key)
			gone := errors.Is(getErr, errNoEntry)
			switch {
			case getErr != nil && !gone:
				err = getErr // nobody knows yet: ask again
			case unsure && !gone && bytes.Equal(now.body, w.body):
				return now.rev, nil
			case gone && w.create:
				w.expect = now.rev // only the marker of an earlier life is there, or not even that any more
			case now.rev != w.expect:
				return 0, &conflictError{now, gone}
			}
			// Else another write of this key is on its way through the cluster.
		case !isTransient(err):
			return 0, err
		default:
			unsure = true
		}
		if !pause(ctx, retryWait(try)) {
			return 0, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// rolledUp has the server take back what a key had before. It would as well where
// a bucket has no history, but as a limit, which it does not write down: after a
// crash such a message comes back, once the one that came after it is gone.
func rolledUp(subject string, body []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: body, Header: nats.Header{jetstream.MsgRollup: []string{jetstream.MsgRollupSubject}}}
}

// attempt publishes raw, not by the KV's Update: that can't give a TTL.
func (b *bucket) attempt(ctx context.Context, w write) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	options := []jetstream.PublishOpt{
		jetstream.WithExpectLastSequencePerSubject(w.expect),
		jetstream.WithRetryAttempts(0),
	}
	if w.ttl > 0 {
		options = append(options, jetstream.WithMsgTTL(w.ttl))
	}
	ack, err := b.js.PublishMsg(ctx, rolledUp(b.publish+w.key, w.body), options...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// isWrongRevision: streams with replicas have a code of their own for it.
func isWrongRevision(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// isTransient says whether trying again may help: no answer, no leader, no
// connection at the moment. What the server or the client refuses is refused
// for good.
func isTransient(err error) bool {
	var e *jetstream.APIError
	if errors.As(err, &e) {
		return e.Code == 503
	}
	for _, final := range []error{nats.ErrConnectionClosed, nats.ErrMaxPayload, nats.ErrBadSubject,
		nats.ErrAuthorization, nats.ErrPermissionViolation, jetstream.ErrJetStreamNotEnabled,
		jetstream.ErrJetStreamNotEnabledForAccount, jetstream.ErrInvalidBucketName, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// retryWait grows from 25 ms to a second.
func retryWait(try int) time.Duration {
	return min(25*time.Millisecond<<min(try, 6), time.Second)
}

// pause waits and says whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
