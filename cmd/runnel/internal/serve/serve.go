// Package serve is `runnel serve`: runners, and the NATS server for them where
// none is configured.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/cmd/runnel/internal/web"
	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/policy"
	"github.com/runnel-io/runnel/subjects"
)

// command is `runnel serve`: a runner, and the NATS server for it when
// none is configured.
type command struct {
	*app.App
	cfg          service.Config // what flags say of every runner
	policy       policy.Policy
	listen       string
	http         []string
	webFlags     web.Flags
	config       string
	maxStep      time.Duration
	simulate     int
	syncAlways   bool
	drainTimeout time.Duration
	connectWait  time.Duration
	pipelines    pipelines
	dropIn       *DropIn // nil but in the place of prunner

	// What is open, in this order.
	server  *embedded.Server // nil with a server elsewhere
	target  *connect.Target
	local   *connect.Local // what was left for the commands of this user
	front   front
	runners []*app.Runner
	web     *webServer
	reloads reloads
}

const (
	defaultSlots        = 64
	defaultBacklog      = 256
	defaultDrainTimeout = 30 * time.Second
	defaultConnectWait  = 5 * time.Minute // off a terminal, where nobody types it again
)

// NewCommand is `runnel serve`.
func NewCommand(a *app.App) *cobra.Command {
	s := &command{App: a}
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: cli.GroupServe,
		Short:   "Run a runner, with a built-in NATS server if none is configured",
		Example: `  runnel serve                                        NATS built in, on loopback
  runnel serve --server nats://nats.example:4222 --creds web.creds
  runnel serve --name web1 --pool web --label env=prod --slots 16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.Configured != nil { // a reload, in a process that serves already
				err := s.prepare(cmd)
				if err == nil {
					a.Configured(s.cfg)
				}
				return err
			}
			return s.serve(cmd)
		},
	}
	s.addFlags(cmd)
	return cmd
}

// serve serves from the flags to the end. Its log is a courtesy: a reader that has
// stalled or gone costs lines, never the service.
func (s *command) serve(cmd *cobra.Command) (err error) {
	cli.IgnorePipeSignal() // for good: the last word has a reader, too
	log := newLogWriter(s.Err)
	s.Err = log
	defer func() {
		log.Close()
		if err != nil {
			err = &cli.ExitError{Code: cli.ExitOwn, Message: err.Error(), Hurried: true}
		}
	}()
	if err := s.prepare(cmd); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.run(cmd.Context())
}

func (s *command) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.cfg.Name, "name", "", "the runner's `NAME` (default: the host's)")
	flags.StringArrayVar(&s.cfg.Pools, "pool", nil, "a `POOL` the runner is in; may be repeated (default \""+service.DefaultPool+"\")")
	flags.StringToStringVar(&s.cfg.Labels, "label", nil, "a label `K=V`, for --where; may be repeated")
	flags.IntVar(&s.cfg.Slots, "slots", defaultSlots, "runs at a time: `N`")
	flags.IntVar(&s.cfg.Backlog, "backlog", defaultBacklog, "runs that may wait: `N`")
	flags.DurationVar(&s.drainTimeout, "drain-timeout", defaultDrainTimeout, "how long runs may take to finish when this ends")
	flags.IntVar(&s.simulate, "simulate", 0, "be `N` runners, NAME-1 to NAME-N, to try out fan-outs")
	cli.Group(flags, cli.FlagsWhat, "name", "pool", "label", "slots", "backlog", "drain-timeout", "simulate")
	flags.DurationVar(&s.connectWait, "connect-wait", 0, "keep trying to reach the server for this long at the\nstart (default 5m0s; on a terminal, not at all)")
	flags.StringVar(&s.cfg.DataDir, "data", "", "data `DIRECTORY` (default ~/.local/share/runnel)")
	flags.BoolVar(&s.cfg.Adopt, "adopt", false, "the data directory was moved here from another machine\nfor good")
	flags.StringVar(&s.listen, "listen", "", "where the built-in NATS server listens: `HOST:PORT` (default 127.0.0.1:4222)")
	flags.BoolVar(&s.syncAlways, "sync-always", false, "the NATS server built in: an ack means the disk, not the page cache")
	flags.IntVar(&s.cfg.Replicas, "replicas", 0, "replicas of the streams and buckets: `N` (default 1 for new ones)")
	flags.StringArrayVar(&s.cfg.ReplyPrefixes, "reply-prefix", nil, "inboxes of callers may begin with `PREFIX`, beside _INBOX; may be\nrepeated")
	flags.DurationVar(&s.cfg.StartWait, "start-wait", service.DefaultStartWait, "how long to wait for a NATS server that answers and is not ready")
	flags.StringArrayVar(&s.http, "http", nil, "serve the fleet, health and metrics over HTTP on `HOST:PORT`; may be\nrepeated")
	flags.StringVar(&s.config, "config", "", "YAML `FILE` with any of these settings; SIGHUP reads it again")
	cli.Group(flags, cli.FlagsWhere, "connect-wait", "start-wait", "data", "adopt", "listen", "sync-always", "replicas", "reply-prefix", "http", "config")
	flags.DurationVar(&s.cfg.LogMaxAge, "log-max-age", 0, "keep output for this long (default 7 days)")
	flags.Var(app.Size{To: &s.cfg.LogMaxBytes}, "log-max-bytes", "keep at most `BYTES`, or 64M, of output (default a tenth of the store)")
	flags.DurationVar(&s.cfg.Retention, "retention", 0, "keep the records of ended runs for this long: a day at least, and as long as logs (default 7 days)")
	flags.IntVar(&s.cfg.KeepCount, "keep", 0, "keep the records of the fleet's last `N` ended runs\n(default all)")
	flags.Var(app.Size{To: &s.cfg.SpoolMaxBytes}, "spool-max-bytes", "keep at most `BYTES`, or 64M, of a run's output on\ndisk while NATS is away (default 256 MiB)")
	flags.DurationVar(&s.maxStep, "max-step", 0, "refuse to step the clock by more than this (default any step)")
	flags.StringArrayVar(&s.cfg.NTPServers, "ntp", nil, "an NTP server for maint, `HOST[:PORT]`; may be repeated (default: pool.ntp.org, when maint is asked for NTP)")
	flags.StringVar(&s.cfg.CgroupRoot, "cgroup", "", "the cgroup v2 `DIRECTORY` for runs (default this process's own)")
	flags.BoolVar(&s.cfg.NoCgroup, "no-cgroup", false, "leave cgroups alone")
	cli.Group(flags, cli.FlagsHow, "log-max-age", "log-max-bytes", "retention", "keep", "spool-max-bytes", "ntp", "max-step", "cgroup", "no-cgroup")
	s.CompleteFlag(cmd, "pool", app.PoolNames)
	s.CompleteFlag(cmd, "label", app.LabelPairs)
	s.pipelines.addFlags(cmd)
	s.webFlags.Add(cmd)
	cli.BindEnvAll(cmd)
}

// prepare completes the flags from the file and refuses contradictions, before
// anything is touched.
func (s *command) prepare(cmd *cobra.Command) error {
	if s.config != "" {
		if err := cli.ApplyConfig(s.config, cmd.Flags(), map[string]any{"policy": &s.policy, "languages": &s.cfg.Languages}); err != nil {
			return err
		}
	}
	if err := s.SetLogger(slog.LevelInfo); err != nil {
		return err
	}
	if !cmd.Flags().Changed("connect-wait") && !s.ErrLook.Terminal {
		s.connectWait = defaultConnectWait
	}
	if s.cfg.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("cannot read the host's name: %w; give the runner a --name", err)
		}
		s.cfg.Name = subjects.Legalise(host)
	}
	if err := subjects.Token(s.cfg.Name); err != nil {
		return fmt.Errorf("cannot use --name: %w", err)
	}
	if s.cfg.DataDir == "" {
		dir, err := connect.UserDataDir()
		if err != nil {
			return fmt.Errorf("%w; give one with --data", err)
		}
		s.cfg.DataDir = dir
	}
	if s.maxStep != 0 {
		s.policy.Clock.MaxStep = s.maxStep
	}
	s.cfg.OnWait, s.front.name = s.waiting, s.cfg.Name
	s.cfg.Prefix, s.cfg.Policy, s.cfg.Logger = s.Prefix, &s.policy, s.Log
	if err := s.check(); err != nil {
		return err
	}
	if err := errors.Join(s.policy.Validate(), s.pipelines.check()); err != nil {
		return err
	}
	if s.cfg.Backlog == 0 {
		s.cfg.Backlog = -1 // none, in the words of package service
	}
	return nil
}

// run serves until it is told to end.
func (s *command) run(ctx context.Context) error {
	defer app.SpareHeap()()
	signals, stop := cli.ServeSignals()
	defer stop()
	sig, err := s.startUntil(ctx, signals, stop)
	switch {
	case sig != nil && len(s.runners) > 0:
		return s.drainUntil(ctx, sig, signals, stop) // what was accepted meanwhile
	case sig != nil, err != nil:
		return err
	}
	giving, enough := context.WithCancel(ctx)
	defer enough()
	go app.GiveBack(giving)
	return s.untilSignal(ctx, signals, stop)
}

// startUntil starts everything, and returns the signal that called it off. A
// second one ends the process as signals do.
func (s *command) startUntil(ctx context.Context, signals <-chan os.Signal, stop func()) (calledOff os.Signal, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- s.start(ctx) }()
	for reload := false; ; {
		select {
		case err := <-started:
			if err == nil && reload {
				s.reload()
			}
			return nil, err
		case sig := <-signals:
			if sig == cli.ReloadSignal {
				reload = true
				continue
			}
			s.Log.Info("ending before it is ready", "signal", sig)
			cancel()
			return sig, noCancel(s.awaitStart(sig, started, signals, stop))
		}
	}
}

// awaitStart waits for a start that was called off by first, but no longer than a
// drain may take: it may hang, with a mount that it reads from.
func (s *command) awaitStart(first os.Signal, started <-chan error, signals <-chan os.Signal, stop func()) error {
	late := time.NewTimer(max(s.drainTimeout, time.Second))
	defer late.Stop()
	leave := func(sig os.Signal) {
		stop()
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Signal(sig) // where it can't be sent, the next one ends the process
		}
	}
	for {
		select {
		case err := <-started:
			return err
		case <-late.C:
			s.Log.Error("the start hangs: leaving it")
			leave(first)
		case sig := <-signals:
			if sig != cli.ReloadSignal {
				leave(sig)
			}
		}
	}
}

// noCancel is what went wrong besides the start's being called off.
func noCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// start returns when runs are taken.
func (s *command) start(ctx context.Context) error {
	if err := s.startWeb(); err != nil {
		return err
	}
	if err := s.findServer(); err != nil {
		return err
	}
	if err := s.startRunners(ctx); err != nil {
		return err
	}
	if s.dropIn != nil {
		if err := s.takeOldJobs(ctx); err != nil {
			return err
		}
	}
	if err := s.startEngine(ctx); err != nil {
		return err
	}
	if err := s.openWeb(ctx); err != nil {
		return err
	}
	contextName := ""
	if s.dropIn == nil { // whose server is nobody else's
		contextName = s.leaveContexts()
	}
	s.announce(ctx, contextName)
	notify("READY=1")
	return nil
}

// findServer finds the configured server or starts the one built in.
func (s *command) findServer() error {
	if s.listen == "" {
		// Our own context may have been selected since: that is this server.
		found, err := s.Conn.Find(connect.Search{Log: s.Log, NotLocal: true, NotContext: connect.ContextName(s.cfg.Name)})
		if err == nil {
			s.target = found
			return nil
		}
		if !errors.Is(err, connect.ErrNoServer) {
			return err
		}
	}
	if err := s.startServer(); err != nil {
		return err
	}
	s.target = &connect.Target{Origin: "the NATS server built in", Timeout: s.Conn.Timeout, Options: s.Conn.WithCommon(nil), Server: s.server}
	return nil
}

func (s *command) startServer() error {
	cfg := embedded.Config{Name: connect.ContextName(s.cfg.Name), DataDir: s.cfg.DataDir, SyncAlways: s.syncAlways, Logger: s.Log}
	var err error
	if cfg.Host, cfg.Port, err = parseListen(s.listen); err != nil {
		return err
	}
	if s.dropIn != nil {
		cfg.Port = embedded.AnyPort
	}
	s.server, err = embedded.Start(cfg)
	switch {
	case errors.Is(err, embedded.ErrAddressInUse):
		return fmt.Errorf("%w; another runnel serve or nats-server holds it: use --listen, or --server to use that one", err)
	case errors.Is(err, embedded.ErrLocked):
		return fmt.Errorf("cannot use data directory %s: another runnel serve uses it; give this one its own with --data", s.cfg.DataDir)
	case err != nil:
		return err
	}
	s.cfg.ServerTrouble = s.server.Trouble
	s.Say("embedded NATS with JetStream on %s, data in %s", natsURL(s.server.ListenAddress()), tilde(s.cfg.DataDir))
	s.local = &connect.Local{
		Name: s.cfg.Name, URL: s.server.URL(), SeedFile: s.server.SeedFile(), Lock: s.server.LockFile(),
		Prefix: s.Prefix, PID: os.Getpid(), Started: time.Now(),
	}
	return nil
}

func natsURL(address string) string { return "nats://" + address }

// parseListen reads HOST:PORT, :PORT or HOST; port 0 is any free one.
func parseListen(listen string) (host string, port int, err error) {
	if listen == "" {
		return "", 0, nil
	}
	if !strings.Contains(listen, ":") {
		return listen, 0, nil
	}
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("cannot use --listen %q: it is HOST:PORT", listen)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("cannot use --listen %q: no such port", listen)
	}
	if port == 0 {
		port = embedded.AnyPort
	}
	return host, port, nil
}

// Close closes what is open, in reverse.
func (s *command) Close() error {
	var err error
	if s.web != nil {
		err = errors.Join(err, s.web.Close())
	}
	s.pipelines.close()
	for _, r := range s.runners {
		r.Close()
	}
	if s.local != nil {
		err = errors.Join(err, s.local.TakeAway())
	}
	if s.server != nil {
		err = errors.Join(err, s.server.Close())
	} else if s.target != nil {
		err = errors.Join(err, s.target.Close())
	}
	await(&s.reloads.work, endPatience)
	return err
}
