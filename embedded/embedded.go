package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
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
	srv      *natsserver.Server
	cfg      Config
	seed     []byte // of the one user; empty when InProcessOnly
	seedFile string
	dir      string // the data directory or the temporary one
	lock     *lockfile.Lock

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
	s := &Server{cfg: cfg}
	if err := s.openDir(); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.closeDir())
	}
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

// start starts the server proper, its directory being open.
func (s *Server) start() error {
	opts := s.options()
	if !s.cfg.InProcessOnly {
		user, err := s.loadUser()
		if err != nil {
			return err
		}
		opts.Nkeys = []*natsserver.NkeyUser{user}
		// A busy port is found out here, before a big store is read in.
		if err := s.tryListen(); err != nil {
			return err
		}
	}
	srv, err := natsserver.NewServer(opts)
	if err != nil {
		return fmt.Errorf("cannot start the embedded server: %w", err)
	}
	log := newServerLog(s.cfg.Logger)
	srv.SetLoggerV2(log, log.wantsTrace(), false, false)
	srv.Start() // comes back when it listens, or has told log why it doesn't
	if err := log.fatalError(); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return s.startError(err)
	}
	s.srv = srv
	return nil
}

func (s *Server) options() *natsserver.Options {
	return &natsserver.Options{
		ServerName:             s.cfg.Name,
		Host:                   s.cfg.Host,
		Port:                   s.cfg.Port,
		DontListen:             s.cfg.InProcessOnly,
		MaxPayload:             s.cfg.MaxPayloadBytes,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               filepath.Join(s.dir, storeDirName),
		SyncAlways:             s.cfg.SyncAlways,
		DisableJetStreamBanner: true,
	}
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
	all := []nats.Option{nats.InProcessServer(s.srv)}
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

// URL is where a client on this machine reaches the server, such as
// nats://127.0.0.1:4222; empty when InProcessOnly.
func (s *Server) URL() string {
	addr, ok := s.srv.Addr().(*net.TCPAddr)
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
	if s.srv.Addr() == nil {
		return ""
	}
	return s.srv.Addr().String()
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
	if c := s.srv.JetStreamConfig(); c != nil {
		return c.MaxStore
	}
	return 0
}

// Close stops the server and waits until it has: connections are closed, the
// port and the directory are free, and a temporary directory is gone. Calling
// it again does nothing.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
		s.closeErr = s.closeDir()
	})
	return s.closeErr
}
