package service

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/endpoint"
	"github.com/runnel-io/runnel/service/glance"
	"github.com/runnel-io/runnel/service/helper"
	"github.com/runnel-io/runnel/service/lang"
	"github.com/runnel-io/runnel/service/logs"
	"github.com/runnel-io/runnel/service/mounts"
	"github.com/runnel-io/runnel/service/presence"
	"github.com/runnel-io/runnel/service/run"
	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/store"
	"github.com/runnel-io/runnel/subjects"
)

// Service is a runner at work. Make one with Start, end it with Drain and Close.
type Service struct {
	cfg       Config
	space     subjects.Space
	log       *slog.Logger
	conns     conns
	data      *presence.DataDir
	store     *store.Store
	languages *lang.Table
	runner    *run.Runner
	settings  atomic.Pointer[settings]
	presence  *presence.Presence
	metrics   *metrics
	endpoints *endpoint.Server
	waiting   waiting // what may run here later
	groups    groups
	life      *lifetime
	hanging   hanging
}

// conns are the two to NATS.
type conns struct {
	nc *nats.Conn          // requests and replies; micro has its callbacks
	js jetstream.JetStream // logs and records, over a connection that buffers nothing while it reconnects
}

// hanging is for mounts that may hang.
type hanging struct {
	budget  mounts.Budget // of all that is done on them
	helpers *helper.Pool  // that do it for glance
}

// Start runs a runner until Close. The connection must not be used for another
// micro service: micro takes its callbacks. Start returns when the runner can be
// asked; ctx bounds the start alone.
func Start(ctx context.Context, nc *nats.Conn, cfg Config) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	space, err := subjects.New(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, space: space, log: cfg.Logger, conns: conns{nc: nc}, life: newLifetime()}
	s.warnOfMounts()
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("cannot start runner %s: %w", cfg.Name, err)
	}
	return s, nil
}

// warnOfMounts tells of own directories that lie where a look may never return;
// the mounts themselves are not looked at.
func (s *Service) warnOfMounts() {
	for what, dir := range map[string]string{"data directory": s.cfg.DataDir, "temporary directory": os.TempDir()} {
		if m, err := mounts.Of(dir); err == nil && m.MayHang() {
			s.log.Warn("the runner's own "+what+" is on a mount that may hang, and the runner with it; use a local file system",
				"runner", s.cfg.Name, "path", dir, "mount", m.String())
		}
	}
}

// open brings everything up, in order; each step leaves how to undo it. One
// answer of NATS that is lost must not take all the time there is for the start:
// the client gives each request five seconds if the context has no deadline.
func (s *Service) open(ctx context.Context) error {
	ctx, cancel := withoutDeadline(ctx)
	defer cancel()
	for _, step := range []func(context.Context) error{
		s.openData, s.connect, s.openStreams, s.claim, s.openRunner, s.openEndpoints,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) openData(context.Context) error {
	data, err := presence.OpenDataDir(s.cfg.DataDir)
	if err != nil {
		return err
	}
	s.data = data
	s.life.onClose(data.Close)
	s.hanging.helpers = helper.NewPool(&s.hanging.budget, glance.Serve)
	s.life.onClose(s.hanging.helpers.Close)
	settings, err := s.newSettings(s.cfg.Settings)
	if err != nil {
		return err
	}
	s.settings.Store(settings)
	s.life.onClose(func() { s.settings.Load().glancer.Close() })
	s.presence = s.newPresence()
	return nil
}

// connect makes the connection that logs and records go over. A publish that
// nats.go kept and sent again by itself would break their order.
func (s *Service) connect(context.Context) error {
	opts := s.conns.nc.Opts
	opts.ReconnectBufSize = -1
	opts.Name = strings.TrimSpace(opts.Name + " logs")
	opts.MaxReconnect = -1
	opts.IgnoreAuthErrorAbort = true
	opts.AsyncErrorCB = nil
	opts.ClosedCB, opts.DisconnectedErrCB, opts.ReconnectedCB = nil, nil, func(*nats.Conn) { s.presence.Back() }
	pub, err := opts.Connect()
	if err != nil {
		return fmt.Errorf("cannot connect a second time, for logs: %w", err)
	}
	s.life.onClose(pub.Close)
	switch {
	case s.cfg.JetStreamPrefix != "":
		s.conns.js, err = jetstream.NewWithAPIPrefix(pub, s.cfg.JetStreamPrefix)
	case s.cfg.JetStreamDomain != "":
		s.conns.js, err = jetstream.NewWithDomain(pub, s.cfg.JetStreamDomain)
	default:
		s.conns.js, err = jetstream.New(pub)
	}
	return err
}

func (s *Service) ensureLogs(ctx context.Context) error {
	return logs.EnsureStream(ctx, s.conns.js, s.space, logs.StreamConfig{
		Replicas: s.cfg.Replicas, MaxAge: s.cfg.LogMaxAge, MaxBytes: s.cfg.LogMaxBytes,
	})
}

func (s *Service) openStreams(ctx context.Context) error {
	return s.untilAble(ctx, s.tryStreams)
}

func (s *Service) tryStreams(ctx context.Context) error {
	err := s.ensureLogs(ctx)
	if err != nil {
		return err
	}
	age, err := logs.MaxAge(ctx, s.conns.js, s.space)
	if err != nil {
		return err
	}
	if s.store, err = store.Open(ctx, s.conns.js, s.space, store.Config{
		Replicas: s.cfg.Replicas, Retention: s.cfg.Retention, LogAge: age, KeepCount: s.cfg.KeepCount,
		OnlineFor: s.cfg.OfflineAfter, LostAfter: s.cfg.LostAfter, Logger: s.log,
		PurgeLog: func(ctx context.Context, run *pb.Run) error { return logs.Purge(ctx, s.conns.js, run) },
	}); err != nil || s.cfg.OnDemand {
		return err
	}
	s.makeIndex(ctx)
	return nil
}

// indexTimeout is how long the start waits for the index, without which lists are
// slow and nothing else is wrong.
const indexTimeout = 2 * time.Second

func (s *Service) makeIndex(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	if err := s.store.MakeIndex(ctx); err != nil {
		s.log.Warn("cannot make the index of runs; lists will be slow", "error", err)
	}
}

func (s *Service) openRunner(ctx context.Context) error {
	host, err := sandbox.Open(sandbox.Config{
		CgroupRoot: s.cfg.CgroupRoot, NoCgroup: s.cfg.NoCgroup,
		Prefix: "runnel-" + s.data.Instance + "-", Logger: s.log,
		Hide: append([]string{s.data.Path}, s.cfg.Secrets...), Budget: &s.hanging.budget,
	})
	if err != nil {
		return err
	}
	s.life.onClose(func() {
		if s.endpoints != nil {
			s.endpoints.Wait()
		}
		if err := host.Close(); err != nil {
			s.log.Warn("cannot let go of the host", "error", err)
		}
	})
	environ := taskEnviron(os.Environ())
	s.languages, err = lang.New(lang.Config{Rows: s.cfg.Languages, Environ: environ, Dir: filepath.Join(s.data.Path, "languages"), Host: host, Logger: s.log, OnChange: s.presence.Prepares})
	if err != nil {
		return err
	}
	s.life.onClose(s.languages.Close)
	if err := s.knowsLanguages(s.cfg.Policy); err != nil {
		return err
	}
	s.runner = run.New(run.Config{
		Name: s.cfg.Name, Instance: s.data.Instance, Space: s.space, JS: s.conns.js, Store: s.store, Host: host, Languages: s.languages,
		DataDir: s.data.Path, Slots: s.cfg.Slots, Backlog: s.cfg.Backlog, SpoolMaxBytes: s.cfg.SpoolMaxBytes,
		Environ: environ, Logger: s.log, OnPlaces: s.placesChanged,
		OnEnd: func(run *pb.Run) { s.metrics.ended(run); s.waiting.queue.Ended(run) },
	})
	for _, limit := range s.cfg.Policy.Limits.Named() {
		if !s.runner.Holds(limit) {
			s.log.Warn("this host can't hold runs to a limit of the policy", "runner", s.cfg.Name, "limit", limit, "why", host.Facts().NoControllers)
		}
	}
	s.presence.Open(s.runner, host.Facts())
	s.metrics = s.newMetrics()
	if err := s.newEndpoints(); err != nil {
		return err
	}
	s.openQueue()
	s.openSchedules()
	s.life.onClose(s.runner.Close)
	s.life.onClose(s.presence.Detach)
	return s.untilAble(ctx, s.runner.Recover)
}

// placesChanged is called under the runner's lock: it only wakes others.
func (s *Service) placesChanged() {
	s.endpoints.PlacesChanged()
	s.waiting.queue.Changed()
	s.presence.PlacesChanged()
}

// readyTimeout is how long NATS has to take the card that says ready.
const readyTimeout = 10 * time.Second

func (s *Service) openEndpoints(ctx context.Context) error {
	s.life.onClose(s.endpoints.Close)
	if err := s.endpoints.Open(); err != nil {
		return err
	}
	// From here on there may be runs: a start that is called off now has succeeded,
	// and whoever called it off drains.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	if err := s.presence.Ready(ctx); err != nil {
		return err
	}
	s.life.tasks.Go(s.watchFate)
	s.life.tasks.Go(s.watchLink)
	s.life.tasks.Go(s.takeWork)
	s.life.tasks.Go(func() { s.waiting.fires.Run(s.life.ctx) })
	return s.Err()
}

// Name is the runner's.
func (s *Service) Name() string { return s.cfg.Name }

// Drain takes no new runs but those that are on their way to it as one of many,
// and waits for those there are until ctx ends; then it aborts them. Everything
// else is still answered. Close comes after.
func (s *Service) Drain(ctx context.Context) {
	s.endpoints.LeaveAny()
	s.presence.Changed()
	s.runner.Drain(ctx)
}

// Kill ends all runs without any grace; Drain then comes to its end.
func (s *Service) Kill() { s.runner.Kill() }

// Close stops the runner: what still runs is killed. It returns when nothing of
// the runner is left in this process.
func (s *Service) Close() {
	if s.endpoints != nil {
		s.endpoints.Stop()
	}
	s.life.end(endpoint.ErrStopping)
}

// status is what replies say of this runner.
func (s *Service) status() *pb.ServiceStatus {
	h := s.Health()
	return &pb.ServiceStatus{
		Runner: h.Runner, Initialized: h.State != StateInitialising, Healthy: h.State == StateReady || h.State == StateDraining, Error: h.Error,
	}
}
