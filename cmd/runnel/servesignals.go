package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/runnel-io/runnel/service"
)

// secondGrace is what is left of a run's grace when whoever ends the runner is in
// a hurry.
const secondGrace = time.Second

// untilSignal serves until a signal: the first drains, a second one aborts what
// still runs, and after that signals do what they always do. reloadSignal
// reads the configuration again.
func (s *serveCommand) untilSignal(ctx context.Context, signals <-chan os.Signal, stop func()) error {
	watchdog := s.watchdog()
	defer watchdog.Stop()
	for {
		select {
		case <-watchdog.C:
			s.feedWatchdog()
			continue
		case <-ctx.Done():
			s.drain(ctx)
			return nil
		case sig := <-signals:
			if sig == reloadSignal {
				s.reload()
				continue
			}
			s.log.Info("draining", "signal", sig, "timeout", s.drainTimeout)
		}
		break
	}
	notify("STOPPING=1")
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
			if sig == reloadSignal {
				continue
			}
			s.log.Info("aborting what still runs", "signal", sig)
			cancel()
			stop()
			hurry.Reset(secondGrace)
		case <-hurry.C:
			for _, r := range s.runners {
				r.service.Kill()
			}
		}
	}
}

// drain lets all runners finish what they run; what is not done when ctx ends
// is aborted.
func (s *serveCommand) drain(ctx context.Context) {
	var wg sync.WaitGroup
	for _, r := range s.runners {
		wg.Go(func() { r.service.Drain(ctx) })
	}
	wg.Wait()
}

// reload reads flags, environment and file again, and gives the runners what
// can change while they run. A mistake changes nothing.
func (s *serveCommand) reload() {
	notify("RELOADING=1")
	defer notify("READY=1")
	var cfg service.Config
	fresh := newApp(s.stdio)
	fresh.configured = func(c service.Config) { cfg = c }
	if err := s.again(fresh); err != nil {
		s.log.Error("cannot reload", "error", err)
		return
	}
	cfg.Secrets = s.cfg.Secrets
	for _, r := range s.runners {
		if err := r.service.Reload(cfg); err != nil {
			s.log.Error("cannot reload", "runner", r.name, "error", err)
		}
	}
}

// healthServer answers /healthz, /readyz and /metrics.
type healthServer struct {
	server *http.Server
	done   chan struct{}
}

func (s *serveCommand) startHealth() error {
	if s.http == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.http)
	if err != nil {
		return fmt.Errorf("cannot listen for --http on %s: %w", s.http, connectCause(err))
	}
	h := &healthServer{
		server: &http.Server{Handler: s.runners[0].service.Handler(), ReadHeaderTimeout: 5 * time.Second},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(h.done)
		if err := h.server.Serve(listener); err != http.ErrServerClosed {
			s.log.Error("cannot go on serving health", "error", err)
		}
	}()
	s.health = h
	s.say("health and metrics on http://%s", listener.Addr())
	return nil
}

// Close stops answering.
func (h *healthServer) Close() error {
	err := h.server.Close()
	<-h.done
	return err
}

// watchdog ticks twice in the time after which systemd takes this service for
// hung (WatchdogSec=), or never.
func (s *serveCommand) watchdog() *time.Ticker {
	micros, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || micros <= 0 {
		idle := time.NewTicker(time.Hour)
		idle.Stop()
		return idle
	}
	return time.NewTicker(max(time.Duration(micros)*time.Microsecond/2, time.Millisecond))
}

// feedWatchdog says that every runner still answers; that NATS is away is no
// reason to be restarted.
func (s *serveCommand) feedWatchdog() {
	for _, r := range s.runners {
		r.service.Health()
	}
	notify("WATCHDOG=1")
}

// notify tells systemd how this service is doing, where it asks (sd_notify).
// It is a courtesy: a failure changes nothing.
func notify(state string) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	conn, err := net.Dial("unixgram", address)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
