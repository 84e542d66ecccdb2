package serve

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
)

// secondGrace is what is left of a run's grace when whoever ends the runner is in
// a hurry.
const secondGrace = time.Second

// untilSignal serves until a signal: the first drains, a second one aborts what
// still runs, and after that signals do what they always do. reloadSignal
// reads the configuration again.
func (s *command) untilSignal(ctx context.Context, signals <-chan os.Signal, stop func()) error {
	defer s.reloads.end()
	watchdog := s.watchdog()
	defer watchdog.Stop()
	ended, forget := s.ended()
	defer forget()
	for {
		select {
		case err := <-ended:
			return err
		case <-watchdog.C:
			s.feedWatchdog()
			continue
		case <-ctx.Done():
			s.drain(ctx)
			return nil
		case sig := <-signals:
			if sig == cli.ReloadSignal {
				s.reload()
				continue
			}
			return s.drainUntil(ctx, sig, signals, stop)
		}
	}
}

// drainUntil lets running runs finish: sig is the first signal.
func (s *command) drainUntil(ctx context.Context, sig os.Signal, signals <-chan os.Signal, stop func()) error {
	s.Log.Info("draining", "signal", sig, "timeout", s.drainTimeout)
	notify("STOPPING=1")
	watchdog := s.watchdog()
	defer watchdog.Stop()
	ctx, cancel := context.WithTimeout(ctx, s.drainTimeout)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.drain(ctx)
	}()
	hurry := time.NewTimer(0)
	defer hurry.Stop()
	hurry.Stop()
	for {
		select {
		case <-watchdog.C:
			s.feedWatchdog()
		case <-drained:
			return nil
		case sig := <-signals:
			if sig == cli.ReloadSignal {
				continue
			}
			s.Log.Info("aborting what still runs", "signal", sig)
			cancel()
			stop()
			hurry.Reset(secondGrace)
		case <-hurry.C:
			for _, r := range s.runners {
				r.Service.Kill()
			}
		}
	}
}

// ended gives an error once every runner has ended by itself.
func (s *command) ended() (_ <-chan error, forget func()) {
	ended, over := make(chan error, 1), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var last error
		for _, r := range s.runners {
			select {
			case <-r.Service.Done():
				last = r.Service.Err()
			case <-over:
				return
			}
		}
		ended <- last
	})
	return ended, func() { close(over); wg.Wait() }
}

// drain lets all runners finish what they run; what is not done when ctx ends
// is aborted.
func (s *command) drain(ctx context.Context) {
	var wg sync.WaitGroup
	for _, r := range s.runners {
		wg.Go(func() { r.Service.Drain(ctx) })
	}
	wg.Wait()
}
