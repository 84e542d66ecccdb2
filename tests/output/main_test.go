package output

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/tests/rig"
)

// gone is how long TestServerGone takes the server away.
func gone() time.Duration {
	if os.Getenv("RUNNEL_LONG") != "" {
		return 30 * time.Second
	}
	return 8 * time.Second
}

// The test binary is every process that the tests need: a program that a task
// runs, a NATS server, a runner.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "emit":
			os.Exit(emit(os.Args[2:]))
		case "server":
			os.Exit(report(serve(os.Args[2], os.Args[3])))
		case "runner":
			os.Exit(report(run(os.Args[2], os.Args[3], os.Args[4])))
		}
	}
	os.Exit(m.Run())
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func untilSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	<-signals
}

// serve is a NATS server that can be killed.
func serve(dir, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	server, err := embedded.Start(embedded.Config{DataDir: dir, Port: n})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	untilSignal()
	return server.Close()
}

// run is a runner in a process of its own, so that its memory is.
func run(url, seed, dir string) error {
	key, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url, append(patient(), key)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := service.Start(ctx, nc, service.Config{Name: "web1", OnDemand: true, DataDir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	untilSignal()
	s.Close()
	return nil
}

// patient is how a client stays connected while its server is away.
func patient() []nats.Option {
	return []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true)}
}

// host is a machine with a server and a runner, both of which can be killed.
type host struct {
	t      *testing.T
	dir    string
	port   string
	server *exec.Cmd
	runner *exec.Cmd
	nc     *nats.Conn
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), port: freePort(t)}
	h.startServer()
	key, err := nats.NkeyOptionFromSeed(h.seed())
	if err != nil {
		t.Fatal(err)
	}
	h.nc, err = nats.Connect(h.url(), append(patient(), key)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.nc.Close)
	h.runner = h.start("runner", h.url(), h.seed(), filepath.Join(h.dir, "runner"))
	return h
}

func (h *host) url() string  { return "nats://127.0.0.1:" + h.port }
func (h *host) seed() string { return filepath.Join(h.dir, "server", "user.nk") }

func (h *host) startServer() {
	h.t.Helper()
	h.server = h.start("server", filepath.Join(h.dir, "server"), h.port)
}

// start starts this binary in a role and waits until it is ready.
func (h *host) start(args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stderr = rig.Writer(h.t)
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { kill(cmd) })
	if n, _ := out.Read(make([]byte, 16)); n == 0 {
		h.t.Fatalf("the %s has not started", args[0])
	}
	return cmd
}

// kill is SIGKILL, and waits for the end.
func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func freePort(t *testing.T) string { return strconv.Itoa(rig.FreePort(t)) }
