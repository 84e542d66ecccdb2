package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Server is a stock NATS server with JetStream on loopback. It can be stopped
// and started again: same port, same store.
type Server struct {
	*natsserver.Server
	t       testing.TB
	options natsserver.Options
}

// Start starts one with these options. Address, port and store are filled in
// where they have none.
func Start(t testing.TB, options natsserver.Options) *Server {
	t.Helper()
	options.JetStream, options.NoSigs = true, true
	if options.Host == "" {
		options.Host = "127.0.0.1"
	}
	if options.Port == 0 {
		options.Port = natsserver.RANDOM_PORT
	}
	if options.StoreDir == "" {
		options.StoreDir = t.TempDir()
	}
	s := &Server{t: t, options: options}
	s.Again()
	t.Cleanup(s.Stop)
	return s
}

// Again starts a server that was stopped.
func (s *Server) Again() {
	s.t.Helper()
	options := s.options // the server keeps what it is given
	if options.Port > 0 {
		untilFree(s.t, net.JoinHostPort(options.Host, fmt.Sprint(options.Port)))
	}
	server, err := natsserver.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	server.Start()
	if !server.ReadyForConnections(Patience) {
		s.t.Fatal("the server doesn't start")
	}
	s.Server, s.options.Port = server, portOf(server.Addr())
}

// untilFree waits until nobody has an address that a server had before. A client
// that keeps dialling it meanwhile may get the port itself, as the near end of its
// connection, and gives it back when it is tired of hearing nothing.
func untilFree(t testing.TB, address string) {
	t.Helper()
	EventuallyIn(t, 3*Patience, address+" is free", func() bool {
		l, err := net.Listen("tcp", address)
		if err == nil {
			err = l.Close()
		}
		return err == nil
	})
}

// Change changes its options, from the next start on.
func (s *Server) Change(change func(*natsserver.Options)) { change(&s.options) }

// Stop stops it. Stopping twice is fine.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// Cluster starts servers that know each other and waits until JetStream has a
// leader.
func Cluster(t testing.TB, n int) []*Server {
	t.Helper()
	servers := Forming(t, n)
	EventuallyIn(t, 3*Patience, "the cluster has a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				js := JetStream(t, Dial(t, s.ClientURL()))
				_, err := js.AccountInfo(Within(t, time.Second))
				return err == nil
			}
		}
		return false
	})
	return servers
}

// Forming is Cluster while there is no leader yet.
func Forming(t testing.TB, n int) []*Server {
	t.Helper()
	var ports []int
	var routes []string
	for range n {
		port := FreePort(t)
		ports = append(ports, port)
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	servers := make([]*Server, n)
	for i, port := range ports {
		servers[i] = Start(t, natsserver.Options{
			ServerName: fmt.Sprint("n", i+1), NoLog: true,
			Cluster: natsserver.ClusterOpts{Name: "rig", Host: "127.0.0.1", Port: port},
			Routes:  natsserver.RoutesFromStr(strings.Join(routes, ",")),
		})
	}
	return servers
}

// FreePort is one that nobody listens on now, and that no connection gets by chance:
// a client that dials a server which is away could else connect to itself, and keep
// the port from the server.
func FreePort(t testing.TB) int {
	t.Helper()
	const low, high = 15_000, 32_000 // below those that Linux gives out
	for {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", low+rand.IntN(high-low)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return portOf(l.Addr())
	}
}

func portOf(addr net.Addr) int { return addr.(*net.TCPAddr).Port }
