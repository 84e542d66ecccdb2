package service

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/service/stream"
)

const (
	// DefaultStartWait is how long a start waits for a NATS that can't do yet what
	// it is asked for.
	DefaultStartWait = 5 * time.Minute
	// silentWait is the same for a JetStream that nobody answers for: it is hardly
	// ever late, and mostly missing. A domain may be behind a link that is down.
	silentWait = 10 * time.Second

	waitPause    = 500 * time.Millisecond
	waitSayEvery = 5 * time.Second
)

// Errors of JetStream that pass by themselves while a cluster forms or elects.
const (
	codeNoPeers         jetstream.ErrorCode = 10005
	codeNotAvailable    jetstream.ErrorCode = 10008
	codeNotLeader       jetstream.ErrorCode = 10009
	codeNameInUse       jetstream.ErrorCode = 10058 // another runner makes it just now
	codeStreamNotFound  jetstream.ErrorCode = 10059
	codeStreamOffline   jetstream.ErrorCode = 10118
	codeServerNotMember jetstream.ErrorCode = 10044
)

// untilAble does a step of the start again for as long as what keeps NATS from
// it may pass by itself.
func (s *Service) untilAble(ctx context.Context, step func(context.Context) error) error {
	began, said := time.Now(), time.Time{}
	for {
		err := step(ctx)
		waited := time.Since(began)
		if err == nil || ctx.Err() != nil || waited > s.patienceWith(err) {
			return err
		}
		s.cfg.OnWait(err)
		if time.Since(said) > waitSayEvery {
			said = time.Now()
			s.log.Warn("NATS can't do yet what this start needs; trying again", "runner", s.cfg.Name, "error", err, "for", waited.Round(time.Second))
		}
		if !stream.Pause(ctx, waitPause) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// patienceWith is how long an error of a start is waited out; 0: it is final.
func (s *Service) patienceWith(err error) time.Duration {
	var api *jetstream.APIError
	isSilent := errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrNoStreamResponse)
	switch {
	case isSilent && s.cfg.JetStreamDomain == "" && s.cfg.JetStreamPrefix == "":
		return min(silentWait, s.cfg.StartWait)
	case isSilent:
		return s.cfg.StartWait
	case errors.As(err, &api):
		switch api.ErrorCode {
		case codeNoPeers, codeNotAvailable, codeNotLeader, codeNameInUse, codeStreamNotFound, codeStreamOffline, codeServerNotMember:
			return s.cfg.StartWait
		}
		if api.Code != 503 {
			return 0
		}
		return s.cfg.StartWait
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound):
		return s.cfg.StartWait
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrConnectionReconnecting),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrStaleConnection):
		return s.cfg.StartWait
	}
	return 0
}
