package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/runnel-io/runnel/service/lockfile"
)

const (
	// DefaultHost is where a server listens when Config.Host is empty.
	DefaultHost = "127.0.0.1"
	// DefaultPort is the port of a server whose Config.Port is 0.
	DefaultPort = 4222
	// AnyPort lets the system choose a free port.
	AnyPort = -1

	defaultMaxPayloadBytes = 1 << 20
	storeDirName           = "nats"
	lockFileName           = "lock"
	seedFileName           = "user.nk"
)

var (
	// ErrAddressInUse is returned by Start when something else listens there.
	ErrAddressInUse = errors.New("address already in use")
	// ErrLocked is returned by Start when another process, or another server of
	// this one, holds the lock.
	ErrLocked = lockfile.ErrLocked
)

// Config says what Start starts. The zero value is not useful: it needs a
// DataDir or Memory.
type Config struct {
	// Name is the server's name as `nats server info` shows it; "runnel" if empty.
	Name string
	// DataDir holds the store, the lock and the seed. It is made, mode 0700, if
	// it is not there. Unused with Memory.
	DataDir string
	// Host and Port say where to listen. Empty is DefaultHost, 0 is
	// DefaultPort, -1 is AnyPort.
	Host string
	Port int
	// InProcessOnly listens nowhere; Connect is the only way in.
	InProcessOnly bool
	// Memory keeps the store in a temporary directory that Close removes.
	Memory bool
	// MaxPayloadBytes is the largest message; 1 MiB if 0, as in nats-server.
	MaxPayloadBytes int32
	// SyncAlways makes an ack mean that the message is on the disk. Without
	// it the server syncs every two minutes.
	SyncAlways bool
	// Logger receives the server's log; nil discards it.
	Logger *slog.Logger
}

// Server is a running server. Its methods may be called from any goroutine.
type Server struct {
	srv      atomic.Pointer[natsserver.Server] // another one after each revival
	log      *serverLog
	cfg      Config
	user     *natsserver.NkeyUser // nil when InProcessOnly
	seed     []byte               // the user's
	seedFile string
	maxStore int64  // of JetStream; 0: what the server finds
	dir      string // the data directory or the temporary one
	lock     *lockfile.Lock

	stop      context.CancelFunc
	watching  sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Start starts a server and returns when it takes connections.
//
// Its errors say what could not be done; errors.Is finds ErrAddressInUse and
// ErrLocked in them.
func Start(cfg Config) (*Server, error) {
	cfg, err := withDefaults(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: newServerLog(cfg.Logger)}
	if err := s.openDir(); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.closeDir())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.watching.Go(func() { s.watch(ctx) })
	return s, nil
}

func withDefaults(cfg Config) (Config, error) {
	switch {
	case cfg.Memory && cfg.DataDir != "":
		return cfg, errors.New("cannot start the embedded server: memory and a data directory exclude each other")
	case !cfg.Memory && cfg.DataDir == "":
		return cfg, errors.New("cannot start the embedded server: no data directory")
	case cfg.Port < AnyPort || cfg.Port > 65535:
		return cfg, fmt.Errorf("cannot start the embedded server: no such port: %d", cfg.Port)
	}
	if cfg.Name == "" {
		cfg.Name = "runnel"
	}
	if cfg.Host == "" {
		cfg.Host = DefaultHost
	}
	if cfg.Port == 0 {
		cfg.Port = DefaultPort
	}
	if cfg.MaxPayloadBytes == 0 {
		cfg.MaxPayloadBytes = defaultMaxPayloadBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

// start starts the server for the first time, its directory being open.
func (s *Server) start() error {
	if !s.cfg.InProcessOnly {
		if err := s.loadUser(); err != nil {
			return err
		}
		// A busy port is found out here, before a big store is read in.
		if err := s.tryListen(); err != nil {
			return err
		}
	}
	if err := s.serve(); err != nil {
		return err
	}
	if addr, ok := s.srv.Load().Addr().(*net.TCPAddr); ok {
		s.cfg.Port = addr.Port // a revival listens where clients look for it
	}
	return nil
}

// serve starts the server proper.
func (s *Server) serve() error {
	srv, err := natsserver.NewServer(s.options())
	if err != nil {
		return fmt.Errorf("cannot start the embedded server: %w", err)
	}
	s.log.forgetFatal()
	srv.SetLoggerV2(s.log, s.log.wantsTrace(), false, false)
	srv.Start() // comes back when it listens, or has told the log why it doesn't
	if err := s.log.fatalError(); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return s.startError(err)
	}
	s.srv.Store(srv)
	if c := srv.JetStreamConfig(); c != nil {
		s.maxStore = c.MaxStore // less may be free when it is revived
	}
	return nil
}

func (s *Server) options() *natsserver.Options {
	opts := &natsserver.Options{
		ServerName:             s.cfg.Name,
		Host:                   s.cfg.Host,
		Port:                   s.cfg.Port,
		DontListen:             s.cfg.InProcessOnly,
		MaxPayload:             s.cfg.MaxPayloadBytes,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               filepath.Join(s.dir, storeDirName),
		JetStreamMaxStore:      s.maxStore,
		SyncAlways:             s.cfg.SyncAlways,
		DisableJetStreamBanner: true,
	}
	if s.user != nil {
		user := *s.user // the server keeps what it is given
		opts.Nkeys = []*natsserver.NkeyUser{&user}
	}
	return opts
}

func (s *Server) startError(err error) error {
	if isAddressInUse(err) {
		return fmt.Errorf("cannot listen on %s: %w", s.listenAddress(), ErrAddressInUse)
	}
	return fmt.Errorf("cannot start the embedded server in %s: %w", s.dir, err)
}

// tryListen listens where the server will, for a moment.
func (s *Server) tryListen() error {
	if s.cfg.Port == AnyPort {
		return nil
	}
	l, err := net.Listen("tcp", s.listenAddress())
	switch {
	case err == nil:
		return l.Close()
	case isAddressInUse(err):
		return fmt.Errorf("cannot listen on %s: %w", s.listenAddress(), ErrAddressInUse)
	}
	// The inner error reads better: without the operation and the address again.
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	if sys := (*os.SyscallError)(nil); errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Errorf("cannot listen on %s: %w", s.listenAddress(), err)
}

func (s *Server) listenAddress() string {
	return net.JoinHostPort(s.cfg.Host, strconv.Itoa(s.cfg.Port))
}

func isAddressInUse(err error) bool {
	const wsaEADDRINUSE = syscall.Errno(10048) // Windows has a number of its own
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE)
}

// Connect opens a connection that stays inside the process: no socket, no
// flags, no credentials to find. The caller closes it, before Close.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	all := []nats.Option{nats.InProcessServer(s)}
	if len(s.seed) > 0 {
		key, err := nkeys.FromSeed(s.seed)
		if err != nil {
			return nil, fmt.Errorf("cannot use the embedded server's seed: %w", err)
		}
		public, err := key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("cannot use the embedded server's seed: %w", err)
		}
		all = append(all, nats.Nkey(public, key.Sign))
	}
	nc, err := nats.Connect("", append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the embedded server: %w", err)
	}
	return nc, nil
}

// InProcessConn is what Connect's connections go over. It makes the Server a
// nats.InProcessConnProvider, so that they find a server that was revived.
func (s *Server) InProcessConn() (net.Conn, error) { return s.srv.Load().InProcessConn() }

// URL is where a client on this machine reaches the server, such as
// nats://127.0.0.1:4222; empty when InProcessOnly.
func (s *Server) URL() string {
	addr, ok := s.srv.Load().Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := s.cfg.Host
	if addr.IP.IsUnspecified() {
		host = DefaultHost
	}
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// ListenAddress is the host and port that the server listens on; empty when
// InProcessOnly.
func (s *Server) ListenAddress() string {
	if s.srv.Load().Addr() == nil {
		return ""
	}
	return s.srv.Load().Addr().String()
}

// Seed returns a copy of the nkey seed that clients need; nil when InProcessOnly.
func (s *Server) Seed() []byte { return append([]byte(nil), s.seed...) }

// SeedFile is the file, mode 0600, that holds Seed, in the form that
// `nats --nkey` takes; empty when InProcessOnly.
func (s *Server) SeedFile() string { return s.seedFile }

// LockFile is the file whose lock is held for as long as the server runs, or
// the process lives: see lockfile.Locked.
func (s *Server) LockFile() string { return s.lock.Path() }

// MaxStoreBytes is how much JetStream may store: three quarters of what was
// free on the disk and of what it holds already. Streams take their limits as
// a part of it.
func (s *Server) MaxStoreBytes() int64 {
	if c := s.srv.Load().JetStreamConfig(); c != nil {
		return c.MaxStore
	}
	return 0
}

// Close stops the server and waits until it has: connections are closed, the
// port and the directory are free, and a temporary directory is gone. Calling
// it again does nothing.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.stop()
		s.watching.Wait()
		s.shutdown()
		s.closeErr = s.closeDir()
	})
	return s.closeErr
}

func (s *Server) shutdown() {
	srv := s.srv.Load()
	srv.Shutdown()
	srv.WaitForShutdown()
}
