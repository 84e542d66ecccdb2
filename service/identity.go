package service

import (
	"context"
	"time"

	"github.com/runnel-io/runnel/service/presence"
	"github.com/runnel-io/runnel/subjects"
)

// Why Start refuses; errors.Is finds them.
var (
	// ErrNameTaken: a runner of that name lives.
	ErrNameTaken = presence.ErrNameTaken
	// ErrCopied: the data directory is a copy of the one of a runner that lives, or
	// may live elsewhere: see Config.Adopt.
	ErrCopied = presence.ErrCopied
)

// claim takes the identity. Nothing of an earlier life is touched before.
func (s *Service) claim(ctx context.Context) error {
	s.life.onClose(s.presence.Close)
	return s.presence.Claim(ctx, s.store)
}

func (s *Service) newPresence() *presence.Presence {
	return presence.New(presence.Config{
		Name: s.cfg.Name, Version: Version, Pools: s.cfg.Pools, Data: s.data, Adopt: s.cfg.Adopt,
		Labels:       func() map[string]string { return s.settings.Load().labels },
		CardInterval: s.cfg.CardInterval, OfflineAfter: s.cfg.OfflineAfter, LostAfter: s.cfg.LostAfter,
		KeepCount: s.cfg.KeepCount, OnDemand: s.cfg.OnDemand,
		Languages:  func(ctx context.Context) []string { return s.languages.List(ctx) },
		EnsureLogs: s.ensureLogs, Answers: s.nameAnswers, Connected: s.connected,
		OnWait: s.cfg.OnWait, OnSuperseded: s.life.fail, Logger: s.log,
	})
}

// answerTimeout is how long another runner has to say that the name is its own.
const answerTimeout = 500 * time.Millisecond

// nameAnswers asks whether a runner of this name is there. Any answer is one.
func (s *Service) nameAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	body := []byte(`{"kind":"runner","spec":{"glance":{}}}`)
	_, err := s.conns.nc.RequestWithContext(ctx, s.space.Request(subjects.Glance, subjects.At(s.cfg.Name)), body)
	return err == nil
}

// watchFate ends a life that can't go on, such as one whose identity another
// start has taken over: it answers nothing more and kills its runs.
func (s *Service) watchFate() {
	select {
	case <-s.life.lost:
	case <-s.life.ctx.Done():
		return
	}
	s.endpoints.Stop()
	s.endpoints.Close()
	s.runner.Kill()
	close(s.life.done)
}

// Done is closed when the runner has ended by itself, and Err says why. Close
// is still to be called.
func (s *Service) Done() <-chan struct{} { return s.life.done }

// Err is why the runner has ended by itself, nil while it has not.
func (s *Service) Err() error { return s.life.failure() }
