package service

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// connected says why NATS can't be reached now, nil if it can.
func (s *Service) connected() error {
	if s.cfg.ServerTrouble != nil {
		if err := s.cfg.ServerTrouble(); err != nil {
			return fmt.Errorf("the NATS server can't store anything: %w", err)
		}
	}
	for _, nc := range []*nats.Conn{s.conns.nc, s.conns.js.Conn()} {
		if nc.IsConnected() {
			continue
		}
		state := "not connected to NATS"
		if nc.IsClosed() {
			state = "the connection to NATS was closed"
		}
		if err := nc.LastError(); err != nil {
			return fmt.Errorf("%s: %w", state, err)
		}
		return errors.New(state)
	}
	return nil
}

// refused says whether NATS was reached and let this runner in no more.
func refused(err error) bool {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

const (
	linkLook = time.Second
	// linkSay is how often it is said that the connections are refused.
	linkSay = time.Minute
)

// watchLink says what is wrong while NATS lets this runner in no more. The
// connections go on trying; only a runner that has nothing to do ends, after
// Config.GiveUpAfter, for whoever started it to start it anew. So does one
// whose connection was closed, which nats.go tries to keep from happening.
func (s *Service) watchLink() {
	ticker := time.NewTicker(linkLook)
	defer ticker.Stop()
	// It may be let in for less than a look takes to come.
	nc, js := s.conns.nc, s.conns.js.Conn()
	letIn, letInJS := nc.StatusChanged(nats.CONNECTED), js.StatusChanged(nats.CONNECTED)
	defer js.RemoveStatusListener(letInJS)
	defer nc.RemoveStatusListener(letIn)
	var since, said time.Time
	for {
		select {
		case <-ticker.C:
		case <-letIn:
			since = time.Time{}
			continue
		case <-letInJS:
			since = time.Time{}
			continue
		case <-s.life.ctx.Done():
			return
		}
		err := s.connected()
		closed := s.conns.nc.IsClosed() || s.conns.js.Conn().IsClosed()
		if !closed && !refused(err) {
			// Away in between, it may refuse again when it is back.
			if err == nil {
				since, said = time.Time{}, time.Time{}
			}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(said) > linkSay {
			said = time.Now()
			what := "NATS does not let this runner in; it goes on trying"
			if closed {
				what = "the connection to NATS was closed for good"
			}
			s.log.Error(what, "runner", s.cfg.Name, "error", err, "for", time.Since(since).Round(time.Second))
		}
		load := s.runner.Load()
		if s.cfg.GiveUpAfter > 0 && load.Running+load.Pending == 0 && time.Since(since) > s.cfg.GiveUpAfter {
			s.life.fail(fmt.Errorf("cannot go on: %w for %s, and nothing runs here", err, time.Since(since).Round(time.Second)))
			return
		}
	}
}
