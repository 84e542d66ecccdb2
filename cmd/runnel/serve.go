package main

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

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/subjects"
)

// serveCommand is `runnel serve`: a runner, and the NATS server for it when
// none is configured.
type serveCommand struct {
	*app
	name         string
	pools        []string
	labels       map[string]string
	slots        int
	backlog      int
	dataPath     string
	replicas     int
	listen       string
	config       string
	simulate     int
	syncAlways   bool
	drainTimeout time.Duration

	// What is open, in this order.
	data   *dataDir
	server *embedded.Server // nil with a server elsewhere
	local  *localServer     // what was left for the commands of this user
	target *target
}

const (
	defaultSlots        = 64
	defaultBacklog      = 256
	defaultDrainTimeout = 30 * time.Second
)

func newServeCommand(a *app) *cobra.Command {
	s := &serveCommand{app: a}
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: groupServe,
		Short:   "Be a runner, with a NATS server built in unless one is configured",
		Example: `  runnel serve                                        NATS built in, on loopback
  runnel serve --server nats://nats.example:4222 --creds web.creds
  runnel serve --name web1 --pool web --label env=prod --slots 16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := s.prepare(cmd); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return s.run(cmd.Context())
		},
	}
	s.addFlags(cmd)
	return cmd
}

func (s *serveCommand) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.name, "name", "", "the runner's `NAME` (default: the host's)")
	flags.StringArrayVar(&s.pools, "pool", nil, "a `POOL` the runner is in; may be repeated (default \"default\")")
	flags.StringToStringVar(&s.labels, "label", nil, "a label `K=V`, for --where; may be repeated")
	flags.IntVar(&s.slots, "slots", defaultSlots, "runs at a time: `N`")
	flags.IntVar(&s.backlog, "backlog", defaultBacklog, "runs that may wait: `N`")
	flags.DurationVar(&s.drainTimeout, "drain-timeout", defaultDrainTimeout, "what running runs get to finish when this ends")
	flags.IntVar(&s.simulate, "simulate", 0, "be `N` runners, NAME-1 to NAME-N, to try out fan-outs")
	groupFlags(flags, flagsWhat, "name", "pool", "label", "slots", "backlog", "drain-timeout", "simulate")
	flags.StringVar(&s.dataPath, "data", "", "data `DIRECTORY` (default ~/.local/share/runnel)")
	flags.StringVar(&s.listen, "listen", "", "where the NATS server built in listens: `HOST:PORT` (default 127.0.0.1:4222)")
	flags.BoolVar(&s.syncAlways, "sync-always", false, "the NATS server built in: an ack means the disk, not the page cache")
	flags.IntVar(&s.replicas, "replicas", 1, "replicas of the streams and buckets: `N`, in a cluster")
	flags.StringVar(&s.config, "config", "", "YAML `FILE` with any of these settings")
	groupFlags(flags, flagsWhere, "data", "listen", "sync-always", "replicas", "config")
	bindEnvAll(cmd)
}

// prepare completes the flags from the file and refuses contradictions, before
// anything is touched.
func (s *serveCommand) prepare(cmd *cobra.Command) error {
	if s.config != "" {
		if err := applyConfig(s.config, cmd.Flags(), nil); err != nil {
			return err
		}
	}
	if err := s.setLogger(slog.LevelInfo); err != nil {
		return err
	}
	if s.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("cannot read the host's name: %w; give the runner a --name", err)
		}
		s.name = subjects.Legalise(host)
	}
	if err := subjects.Token(s.name); err != nil {
		return fmt.Errorf("cannot use --name: %w", err)
	}
	if s.dataPath == "" {
		dir, err := userDataDir()
		if err != nil {
			return fmt.Errorf("%w; give one with --data", err)
		}
		s.dataPath = dir
	}
	switch {
	case s.slots < 1:
		return fmt.Errorf("cannot use --slots %d: it must be at least 1", s.slots)
	case s.backlog < 0:
		return fmt.Errorf("cannot use --backlog %d: it must not be negative", s.backlog)
	case s.simulate < 0:
		return fmt.Errorf("cannot use --simulate %d: it must not be negative", s.simulate)
	case s.listen != "" && s.conn.explicit():
		return errors.New("cannot use --listen with a server elsewhere: it is for the NATS server built in")
	}
	return nil
}

// run serves until it is told to end.
func (s *serveCommand) run(ctx context.Context) (err error) {
	if s.data, err = openDataDir(s.dataPath); err != nil {
		return err
	}
	if err := s.findServer(); err != nil {
		return err
	}
	return s.serveRunners(ctx)
}

// findServer finds the configured server or starts the one built in.
func (s *serveCommand) findServer() error {
	if s.listen == "" {
		// Our own context may have been selected since: that is this server.
		found, err := s.conn.find(finding{log: s.log, notLocal: true, notContext: natsContextName(s.name)})
		if err == nil {
			s.target = found
			return nil
		}
		if !errors.Is(err, errNoServer) {
			return err
		}
	}
	if err := s.startServer(); err != nil {
		return err
	}
	s.target = &target{origin: "the NATS server built in", timeout: s.conn.timeout, options: s.conn.withCommon(nil), server: s.server}
	return nil
}

func (s *serveCommand) startServer() error {
	cfg := embedded.Config{Name: natsContextName(s.name), DataDir: s.data.path, SyncAlways: s.syncAlways, Logger: s.log}
	var err error
	if cfg.Host, cfg.Port, err = parseListen(s.listen); err != nil {
		return err
	}
	s.server, err = embedded.Start(cfg)
	if errors.Is(err, embedded.ErrAddressInUse) {
		return fmt.Errorf("%w; another runnel serve or nats-server holds it: use --listen, or --server to use that one", err)
	}
	if err != nil {
		return err
	}
	s.say("embedded NATS with JetStream on %s, data in %s", natsURL(s.server.ListenAddress()), tilde(s.data.path))
	s.local = &localServer{
		Name: s.name, URL: s.server.URL(), SeedFile: s.server.SeedFile(), Lock: s.data.lockPath(),
		Prefix: s.prefix, PID: os.Getpid(), Started: time.Now(),
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

// leaveContexts tells this user's other commands, and the nats command, of the
// server built in. What can't be left is not needed here.
func (s *serveCommand) leaveContexts() {
	if s.local == nil {
		return
	}
	if err := s.local.leave(); err != nil {
		s.log.Warn("cannot leave credentials for this user's commands: they need --server and --nkey", "error", err, "nkey", s.local.SeedFile)
	}
	name, err := s.local.writeNATSContext()
	if err != nil {
		s.log.Warn("cannot write a context for the nats command", "error", err)
		return
	}
	if err := s.local.explain(s.app, name); err != nil {
		s.log.Warn("cannot explain", "error", err)
	}
}

// explain prints the commands that use the server.
func (l *localServer) explain(a *app, contextName string) error {
	space, err := subjects.New(l.Prefix)
	if err != nil {
		return err
	}
	use := "runnel"
	if natscontext.SelectedContext() != "" || os.Getenv("NATS_URL") != "" || os.Getenv("NATS_CONTEXT") != "" {
		use += " --context " + contextName // they come before a local server
	}
	request := `{"kind":"runner","spec":{"task":{"commands":["uptime"]}}}`
	_, err = fmt.Fprintf(a.err, "  in another terminal   %s run -- uptime\n  with the nats CLI     nats --context %s req --no-templates %s '%s'\n",
		use, contextName, space.Request(subjects.Task, subjects.Any), request)
	return err
}

// connectRunner opens the connection of one runner.
func (s *serveCommand) connectRunner(name string) (*nats.Conn, error) {
	log := s.log.With("runner", name)
	return s.target.connect(
		nats.Name("runnel serve "+name),
		nats.ReconnectBufSize(-1), // nothing is sent twice behind our back
		nats.ReconnectWait(500*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", "server", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", "error", err, "subject", subject)
		}),
	)
}

// Close closes what is open, in reverse.
func (s *serveCommand) Close() error {
	var err error
	if s.local != nil {
		err = errors.Join(err, s.local.takeAway())
	}
	if s.server != nil {
		err = errors.Join(err, s.server.Close())
	} else if s.target != nil {
		err = errors.Join(err, s.target.Close())
	}
	if s.data != nil {
		err = errors.Join(err, s.data.Close())
	}
	return err
}

// tilde shortens a path in the user's home, for people.
func tilde(path string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "/" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, home); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		return "~" + rest
	}
	return path
}
