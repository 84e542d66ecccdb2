package service_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
)

// asRunner makes the test binary a runner: its value is a processConfig.
const asRunner = "RUNNEL_TEST_RUNNER"

type processConfig struct {
	URL, SeedFile, Name, DataDir             string
	Slots                                    int
	CardInterval, OfflineAfter, LostAfterFor time.Duration
	NoCgroup, Adopt                          bool
	// MachineID is another machine's, for this process alone. It needs root.
	MachineID string
	// Netns is the network namespace it is in, made with ip netns; Hostname is its
	// own, in a UTS namespace. They need root, too.
	Netns, Hostname string
	SpoolMaxBytes   int64
}

// beRunner is main of a runner's process.
func beRunner(config string) int {
	var cfg processConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	nc, err := dial(cfg.URL, cfg.SeedFile)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer nc.Close()
	s, err := service.Start(context.Background(), nc, service.Config{
		Name: cfg.Name, DataDir: cfg.DataDir, Settings: service.Settings{Slots: cfg.Slots}, NoCgroup: cfg.NoCgroup, Adopt: cfg.Adopt,
		SpoolMaxBytes: cfg.SpoolMaxBytes,
		CardInterval:  cfg.CardInterval, OfflineAfter: cfg.OfflineAfter, LostAfter: cfg.LostAfterFor,
		OnDemand: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	<-stop
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.Drain(ctx)
	s.Close()
	return 0
}

func dial(url, seedFile string) (*nats.Conn, error) {
	user, err := nats.NkeyOptionFromSeed(seedFile)
	if err != nil {
		return nil, err
	}
	return nats.Connect(url, user, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
}

// A site is a server that listens, and can go away and come back, for runners
// that are processes.
type site struct {
	t      *testing.T
	dir    string
	port   int
	server *embedded.Server
	url    string
	seed   string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), port: embedded.AnyPort}
	s.open()
	u, err := url.Parse(s.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	if s.port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
	s.url, s.seed = s.server.URL(), s.server.SeedFile()
	t.Cleanup(s.close)
	return s
}

func (s *site) open() {
	s.t.Helper()
	var err error
	if s.server, err = embedded.Start(embedded.Config{DataDir: s.dir, Port: s.port}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) close() {
	s.t.Helper()
	if s.server != nil {
		if err := s.server.Close(); err != nil {
			s.t.Error(err)
		}
	}
	s.server = nil
}

func (s *site) two() (c two) {
	s.t.Helper()
	for i := range c {
		nc, err := dial(s.url, s.seed)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(nc.Close)
		c[i] = caller{s.t, nc}
	}
	return c
}

// A process is a runner in a process of its own.
type process struct {
	t   *testing.T
	cfg processConfig
	cmd *exec.Cmd
	log string
	out *bufio.Reader
}

// runner starts a runner's process and waits until it is ready. Times that are
// not given are short.
func (s *site) runner(cfg processConfig) *process {
	s.t.Helper()
	p := s.prepared(cfg)
	p.start()
	return p
}

// prepared is a runner's process that is not started.
func (s *site) prepared(cfg processConfig) *process {
	s.t.Helper()
	if cfg.URL == "" {
		cfg.URL = s.url
	}
	cfg.SeedFile = s.seed
	if cfg.DataDir == "" {
		cfg.DataDir = s.t.TempDir()
	}
	if cfg.CardInterval == 0 {
		cfg.CardInterval, cfg.OfflineAfter, cfg.LostAfterFor = 100*time.Millisecond, time.Second, 2*time.Second
	}
	p := &process{t: s.t, cfg: cfg, log: filepath.Join(s.t.TempDir(), "log")}
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			if text, err := os.ReadFile(p.log); err == nil {
				s.t.Logf("log of %s:\n%s", cfg.Name, lastLines(string(text), 60))
			}
		}
	})
	return p
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *process) start() {
	p.t.Helper()
	if line, text := p.tryStart(); line != "ready\n" {
		p.t.Fatalf("runner %s does not start: %q\n%s", p.cfg.Name, line, lastLines(text, 20))
	}
}

// tryStart returns the first line of the process, which is "ready" if all is
// well, and else its log.
func (p *process) tryStart() (line, text string) {
	p.t.Helper()
	config, err := json.Marshal(p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0])
	if p.cfg.Hostname != "" {
		p.cmd = exec.Command("unshare", "-u", "sh", "-c", `hostname "$0" && exec "$1"`, p.cfg.Hostname, os.Args[0])
	}
	if p.cfg.MachineID != "" {
		id := filepath.Join(p.t.TempDir(), "machine-id")
		if err := os.WriteFile(id, []byte(p.cfg.MachineID+"\n"), 0o644); err != nil {
			p.t.Fatal(err)
		}
		p.cmd = exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/machine-id && exec "$1"`, id, os.Args[0])
	}
	if p.cfg.Netns != "" {
		p.cmd = exec.Command("nsenter", append([]string{"--net=/run/netns/" + p.cfg.Netns}, p.cmd.Args...)...)
	}
	p.cmd.Env = append(os.Environ(), asRunner+"="+string(config))
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	line, _ = p.out.ReadString('\n') // nothing is what a refusal has
	if line == "ready\n" {
		return line, ""
	}
	b, _ := os.ReadFile(p.log)
	return line, string(b)
}

// kill is kill -9, without a word.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// said says whether the runner's own log has this.
func (p *process) said(text string) bool {
	log, err := os.ReadFile(p.log)
	return err == nil && bytes.Contains(log, []byte(text))
}

// left lists what a runner that has no run must not have left: temporary files,
// spools, cgroups.
func (p *process) left() (found []string) {
	p.t.Helper()
	instance, err := os.ReadFile(filepath.Join(p.cfg.DataDir, "instance"))
	if err != nil {
		p.t.Fatal(err)
	}
	name := "runnel-" + strings.TrimSpace(string(instance)) + "-"
	for _, pattern := range []string{filepath.Join(os.TempDir(), name+"*"), filepath.Join(p.cfg.DataDir, "spool", "*")} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			p.t.Fatal(err)
		}
		found = append(found, files...)
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		// The mark of whose leaves they are lives as long as the runner.
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), name) && !strings.HasPrefix(d.Name(), name+"@") {
			found = append(found, path)
		}
		return nil // what goes away under our eyes is no error
	})
	return found
}

// A link is a wire between a runner and its server that can be cut.
type link struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	work  sync.WaitGroup
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{target: u.Host, conns: map[net.Conn]struct{}{}}
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l.work.Go(l.serve)
	t.Cleanup(func() {
		l.listener.Close()
		l.setCut(true)
		l.work.Wait()
	})
	return l
}

func (l *link) url() string { return "nats://" + l.listener.Addr().String() }

func (l *link) serve() {
	for {
		near, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		l.work.Go(func() {
			defer near.Close()
			far, err := net.Dial("tcp", l.target)
			if err != nil {
				return
			}
			defer far.Close()
			if !l.enter(near, far) {
				return
			}
			go func() { _, _ = io.Copy(far, near); far.Close(); near.Close() }()
			_, _ = io.Copy(near, far)
		})
	}
}

func (l *link) enter(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.conns[c] = struct{}{}
	}
	return !l.cut
}

// setCut cuts the wire, or mends it.
func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.conns {
			c.Close()
		}
		clear(l.conns)
	}
}
