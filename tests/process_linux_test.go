package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
)

// asProcess makes the test binary something else: its value is a processConfig.
const asProcess = "RUNNEL_TEST_PROCESS"

// pace is how soon a fleet notices that a runner is away.
type pace struct{ CardInterval, OfflineAfter, LostAfter time.Duration }

var hurried = pace{CardInterval: 100 * time.Millisecond, OfflineAfter: 500 * time.Millisecond, LostAfter: time.Second}

// processConfig says what a process is: a runner, a server of a cluster, or else a
// server that is alone.
type processConfig struct {
	Runner, DataDir, URL, SeedFile string
	Port                           int
	NoCgroup                       bool
	Replicas                       int
	Pace                           pace
	Node                           *nodeConfig
	// Namespace of the network that the process is in; the own one if empty.
	Namespace string
}

// nodeConfig is of a server in a cluster.
type nodeConfig struct {
	Name, Host string
	Peers      []string // hosts, its own among them
}

func beProcess(config string) int {
	var cfg processConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	be := beServer
	switch {
	case cfg.Runner != "":
		be = beRunner
	case cfg.Node != nil:
		be = beNode
	}
	if err := be(cfg, stop); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func beServer(cfg processConfig, stop <-chan os.Signal) error {
	s, err := embedded.Start(embedded.Config{DataDir: cfg.DataDir, Port: cfg.Port})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-stop
	return s.Close()
}

const (
	clientPort  = 4222
	clusterPort = 6222
)

func beNode(cfg processConfig, stop <-chan os.Signal) error {
	var routes []*url.URL
	for _, peer := range cfg.Node.Peers {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort(peer, strconv.Itoa(clusterPort))})
	}
	server, err := natsserver.NewServer(&natsserver.Options{
		ServerName: cfg.Node.Name, Host: cfg.Node.Host, Port: clientPort, NoSigs: true,
		JetStream: true, StoreDir: cfg.DataDir, Routes: routes,
		Cluster: natsserver.ClusterOpts{Name: "cluster", Host: cfg.Node.Host, Port: clusterPort},
	})
	if err != nil {
		return err
	}
	server.Start()
	fmt.Println("ready")
	<-stop
	server.Shutdown()
	server.WaitForShutdown()
	return nil
}

func beRunner(cfg processConfig, stop <-chan os.Signal) error {
	nc, err := dialSite(cfg.URL, cfg.SeedFile)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := service.Start(ctx, nc, service.Config{
		Name: cfg.Runner, DataDir: cfg.DataDir, NoCgroup: cfg.NoCgroup, Settings: service.Settings{Slots: 16, Backlog: 64},
		CardInterval: cfg.Pace.CardInterval, OfflineAfter: cfg.Pace.OfflineAfter, LostAfter: cfg.Pace.LostAfter,
		Replicas: cfg.Replicas, OnDemand: true,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-stop
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Drain(drain)
	s.Close()
	return nil
}

func dialSite(url, seedFile string) (*nats.Conn, error) {
	options := []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.PingInterval(time.Second),
		nats.RetryOnFailedConnect(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
	if seedFile != "" {
		user, err := nats.NkeyOptionFromSeed(seedFile)
		if err != nil {
			return nil, err
		}
		options = append(options, user)
	}
	return nats.Connect(url, options...)
}

// process is one that is started again after it was killed. One goroutine uses
// it at a time.
type process struct {
	name string
	cfg  processConfig
	log  string
	cmd  *exec.Cmd
	out  *bufio.Reader
}

// start returns when the process says that it is ready. A runner whose server is
// away right now fails as it would under a service manager, and is tried again.
func (p *process) start() error {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if err = p.try(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s does not start: %w", p.name, err)
}

func (p *process) try() error {
	config, err := json.Marshal(p.cfg)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(os.Args[0])
	if p.cfg.Namespace != "" {
		p.cmd = exec.Command("nsenter", "--net=/run/netns/"+p.cfg.Namespace, os.Args[0])
	}
	p.cmd.Env = append(os.Environ(), asProcess+"="+string(config))
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.out = bufio.NewReader(out)
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		p.kill()
		return fmt.Errorf("it says %q, %w", line, err)
	}
	return nil
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.wait()
}

// stop is SIGTERM, and an error unless the process ends with 0.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.wait(); err != nil {
		return fmt.Errorf("%s was asked to end: %w", p.name, err)
	}
	return nil
}

func (p *process) wait() error {
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// tail is the end of what the process has logged.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return p.name + ":\n" + strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// instance is a runner's own id, which its cgroups and temporary files have in
// their names.
func (p *process) instance() string {
	b, _ := os.ReadFile(filepath.Join(p.cfg.DataDir, "instance"))
	return strings.TrimSpace(string(b))
}

// wire is what a client is connected by; it can be cut, and mends itself.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	work     sync.WaitGroup
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, conns: map[net.Conn]struct{}{}}
	w.work.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			w.work.Go(func() { w.join(near, target) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		w.cut()
		w.work.Wait()
	})
	return w
}

func (w *wire) url() string { return "nats://" + w.listener.Addr().String() }

func (w *wire) join(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	w.conns[near], w.conns[far] = struct{}{}, struct{}{}
	w.mu.Unlock()
	w.work.Go(func() {
		_, _ = io.Copy(far, near)
		far.Close()
	})
	_, _ = io.Copy(near, far)
}

// cut ends all connections there are.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	clear(w.conns)
}
