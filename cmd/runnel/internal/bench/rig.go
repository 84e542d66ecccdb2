package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/cli"
	"github.com/runnel-io/runnel/cmd/runnel/internal/connect"
	"github.com/runnel-io/runnel/cmd/runnel/internal/term"
	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// rig is what is measured: a NATS server and a runner, processes of their
// own unless a server was named, and a client in this one.
type rig struct {
	runner string // its name
	client *client.Client
	nc     *nats.Conn

	dir       string
	server    *exec.Cmd // nil with a server elsewhere
	runnerCmd *exec.Cmd // likewise
	bare      *exec.Cmd // likewise: see startBare
	fleet     *exec.Cmd // simulated runners, while they are there
	web       *exec.Cmd // a runner that serves HTTP, while it is there
	url, seed string    // of the server
	flags     []string  // that connect to the server
	target    *connect.Target
}

const runnerName = "bench"

// openRig connects to the server that was named, or starts one and a runner.
func (b *command) openRig(ctx context.Context) (*rig, error) {
	if b.Conn.Explicit() {
		return b.openElsewhere()
	}
	dir, err := os.MkdirTemp("", "runnel-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for the measurement: %w", err)
	}
	r := &rig{runner: runnerName, dir: dir}
	if err := r.start(ctx, b.App); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (b *command) openElsewhere() (*rig, error) {
	t, err := b.Conn.Find(connect.Search{Log: b.Log})
	if err != nil {
		return nil, err
	}
	r := &rig{runner: b.on, target: t}
	if r.nc, err = t.Connect(); err != nil {
		return nil, err
	}
	js, err := t.JetStream(r.nc)
	if err != nil {
		return nil, err
	}
	r.client, err = client.New(r.nc, client.Options{Prefix: b.Prefix, JetStream: js})
	return r, err
}

func (r *rig) start(ctx context.Context, a *app.App) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	r.server = exec.CommandContext(ctx, self, "bench", "server", filepath.Join(r.dir, "nats"))
	r.server.Stderr = a.Err
	lines, err := startAndRead(r.server, 2)
	if err != nil {
		return fmt.Errorf("cannot start the server: %w", err)
	}
	r.url, r.seed = lines[0], lines[1]
	r.flags = []string{"--server", r.url, "--nkey", r.seed}
	r.runnerCmd = r.serve(ctx, self, "--name", runnerName, "--slots", "600", "--data", filepath.Join(r.dir, "runner"))
	if err := r.runnerCmd.Start(); err != nil {
		return fmt.Errorf("cannot start the runner: %w", err)
	}
	key, err := nats.NkeyOptionFromSeed(r.seed)
	if err != nil {
		return err
	}
	if r.nc, err = nats.Connect(r.url, key, nats.Name("runnel bench")); err != nil {
		return fmt.Errorf("cannot connect to %s: %w", r.url, err)
	}
	if r.client, err = client.New(r.nc, client.Options{}); err != nil {
		return err
	}
	if err := r.startBare(ctx, self); err != nil {
		return err
	}
	// A runner that still looks for languages is not what is measured.
	return r.waitForRunners(ctx, 1, func(c *pb.Card) bool { return len(c.GetLanguages()) > 0 })
}

// serve is a runnel serve on the rig's server. Its output is for nobody.
func (r *rig) serve(ctx context.Context, self string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, self, append(append([]string{"serve", "--log-level", "error"}, r.flags...), args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// startAndRead starts a program and reads the first lines that it prints.
func startAndRead(cmd *exec.Cmd, n int) ([]string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var lines []string
	for scanner := bufio.NewScanner(out); len(lines) < n; {
		if !scanner.Scan() {
			return nil, errors.Join(errors.New("it ended at once"), scanner.Err())
		}
		lines = append(lines, scanner.Text())
	}
	return lines, nil
}

// waitForRunners returns when so many are online and as they should be.
func (r *rig) waitForRunners(ctx context.Context, n int, is func(*pb.Card) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		runners, err := r.client.Runners(ctx)
		online := 0
		for _, seen := range runners {
			if seen.Online && seen.Card.GetState() == "ready" && is(seen.Card) {
				online++
			}
		}
		if err == nil && online >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("only %d of %s came up: %w", online, term.Plural(n, "runner"), errors.Join(err, ctx.Err()))
		}
	}
}

// status reads a field of the runner's /proc/PID/status: kB become bytes.
func (r *rig) status(field string) float64 {
	if r.runnerCmd == nil {
		return 0
	}
	return statusOf(r.runnerCmd, field)
}

func statusOf(cmd *exec.Cmd, field string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, field+":")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		value, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0
		}
		if len(fields) > 1 {
			value *= 1024
		}
		return value
	}
	return 0
}

// descriptors that the runner has open.
func (r *rig) descriptors() float64 {
	if r.runnerCmd == nil {
		return 0
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.runnerCmd.Process.Pid))
	if err != nil {
		return 0
	}
	return float64(len(entries))
}

// Close ends what was started, in reverse.
func (r *rig) Close() error {
	if r.nc != nil {
		r.nc.Close()
	}
	var errs []error
	for _, cmd := range []*exec.Cmd{r.fleet, r.web, r.bare, r.runnerCmd, r.server} {
		errs = append(errs, endProcess(cmd))
	}
	if r.target != nil {
		errs = append(errs, r.target.Close())
	}
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	return errors.Join(errs...)
}

func endProcess(cmd *exec.Cmd) error {
	if cmd == nil || cmd.Process == nil {
		return nil
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = cmd.Wait() // how it ended is not what is measured
	return nil
}

// newServerCommand is the server of the rig, in a process of its own.
func newServerCommand(*app.App) *cobra.Command {
	return &cobra.Command{
		Use: "server DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer app.SpareHeap()()
			server, err := embedded.Start(embedded.Config{Name: "bench", DataDir: args[0], Port: embedded.AnyPort})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", server.URL(), server.SeedFile())
			ctx, stop := cli.OnInterrupt(cmd.Context())
			defer stop()
			<-ctx.Done()
			return server.Close()
		},
	}
}
