package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/sandbox"
)

// isolationFloors are the same namespaces made by a bare clone, and what they
// may cost beside it.
var isolationFloors = []struct {
	level  string
	flags  uintptr
	budget float64
	bwrap  []string // the same by bubblewrap
}{
	{"none", 0, 0, nil},
	{"standard", unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS, 1.5,
		[]string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--bind", "/", "/", "--proc", "/proc", "--tmpfs", "/tmp"}},
	{"strict", unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET, 2.5,
		[]string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"}},
}

// measureIsolation is start to finish of true at each level, by way of the
// runner and by the sandbox alone, beside a clone and exec of this process with
// the same namespaces, and beside bubblewrap where that is installed. They take
// turns.
func (b *command) measureIsolation(ctx context.Context) (rows []row, err error) {
	if b.rig.runnerCmd == nil {
		return nil, nil // the floor would be of another machine
	}
	levels, err := b.isolationLevels(ctx)
	if err != nil {
		return nil, err
	}
	host, err := sandbox.Open(sandbox.Config{Prefix: fmt.Sprintf("runnel-bench-%d-", os.Getpid())})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	bwrap, _ := exec.LookPath("bwrap") // empty where it is not installed
	for _, f := range isolationFloors {
		if !slices.Contains(levels, f.level) {
			continue
		}
		bare := func() *exec.Cmd {
			cmd := exec.CommandContext(ctx, "true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: f.flags}
			if f.flags != 0 && os.Geteuid() != 0 {
				cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			}
			return cmd
		}
		ways := []way{
			timed(func() error { return bare().Run() }),
			timed(func() error {
				return b.runOnce(ctx, &pb.Task{Argv: []string{"true"}, Isolation: f.level}, nil)
			}),
			timed(func() error { return alone(host, f.level) }),
		}
		if bwrap != "" && f.bwrap != nil {
			ways = append(ways, timed(func() error {
				return exec.CommandContext(ctx, bwrap, append(slices.Clone(f.bwrap), "true")...).Run()
			}))
		}
		times, err := inBlocks(ctx, b.times(200), ways...)
		if err != nil {
			return nil, fmt.Errorf("isolation %s: %w", f.level, err)
		}
		floor := quantile(times[0], 0.5)
		r := row{Name: "true, isolation " + f.level + ", p50", Unit: "ms", Value: quantile(times[1], 0.5), Budget: f.budget, Most: true}
		rows = append(rows, r.beside(floor, "the same namespaces, clone and exec"))
		r = row{Name: "the same by the sandbox alone, p50", Unit: "ms", Value: quantile(times[2], 0.5), Budget: f.budget, Most: true}
		rows = append(rows, r.beside(floor, "the same namespaces, clone and exec"))
		if len(times) > 3 {
			r := row{Name: "true, bubblewrap with those namespaces, p50", Unit: "ms", Value: quantile(times[3], 0.5), Most: true}
			rows = append(rows, r.beside(floor, "the same namespaces, clone and exec"))
		}
	}
	return rows, nil
}

// alone runs true without a runner and without NATS.
func alone(host *sandbox.Host, level string) error {
	isolation, err := sandbox.ParseIsolation(level)
	if err != nil {
		return err
	}
	p, err := host.Start(sandbox.Spec{ID: ulid.Make().String(), Env: os.Environ(), Argv: []string{"true"}, Isolation: isolation})
	if err != nil {
		return err
	}
	status, err := p.Pump(nil, nil)
	if err == nil && status.ExitCode != 0 {
		err = fmt.Errorf("exit %d", status.ExitCode)
	}
	return err
}

// isolationLevels are those of the runner's card.
func (b *command) isolationLevels(ctx context.Context) ([]string, error) {
	runners, err := b.client.Runners(ctx)
	for _, r := range runners {
		if r.Card.GetName() == b.rig.runner {
			return r.Card.GetIsolation(), nil
		}
	}
	return nil, err
}
