package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"google.golang.org/protobuf/proto"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// measureGlance is a directory of 10,000 entries and the system with its
// processes, beside the same reading done here without a reply to be made.
func (b *command) measureGlance(ctx context.Context) ([]row, error) {
	if b.rig.runnerCmd == nil {
		return nil, nil // the floor is of this host
	}
	dir := filepath.Join(b.rig.dir, "entries")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	n := b.times(10_000)
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("entry-%05d", i)), nil, 0o644); err != nil {
			return nil, err
		}
	}
	lists, err := inBlocks(ctx, b.times(40), timed(func() error { return listDir(dir) }), timed(func() error { return b.glanceDir(ctx, dir, n) }))
	if err != nil {
		return nil, err
	}
	systems, err := inBlocks(ctx, b.times(40), timed(walkProc), timed(func() error { return b.glanceSys(ctx) }))
	if err != nil {
		return nil, err
	}
	listFloor, list, sysFloor, sys := lists[0], lists[1], systems[0], systems[1]
	return []row{
		row{Name: fmt.Sprintf("list %d entries, p50", n), Unit: "ms", Value: quantile(list, 0.5), Budget: 1.4, Most: true}.beside(quantile(listFloor, 0.5), "readdir and lstat"),
		row{Name: "the system with its processes, p50", Unit: "ms", Value: quantile(sys, 0.5), Budget: 1.4, Most: true}.beside(quantile(sysFloor, 0.5), "a walk through /proc"),
	}, nil
}

func (b *command) glanceDir(ctx context.Context, dir string, want int) error {
	got := 0
	for next := ""; ; {
		reply, err := b.client.Glance(ctx, b.target, &pb.Glance{Dir: &pb.DirQuery{Path: dir, Limit: app.ListPage, Next: next}})
		if err != nil {
			return err
		}
		got += len(reply.GetDir().GetEntries())
		if next = reply.GetDir().GetNext(); next == "" {
			break
		}
	}
	if got != want+2 { // "." and ".."
		return fmt.Errorf("got %d entries of %d", got, want+2)
	}
	return nil
}

func (b *command) glanceSys(ctx context.Context) error {
	for next := ""; ; {
		reply, err := b.client.Glance(ctx, b.target, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Next: next}})
		if err != nil {
			return err
		}
		if next = reply.GetSys().GetNext(); next == "" {
			return nil
		}
	}
}

func listDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// walkProc reads what a list of processes and their threads is made of.
func walkProc() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		for _, file := range []string{"stat", "cmdline"} {
			_, _ = os.ReadFile(filepath.Join("/proc", e.Name(), file)) // it may have ended
		}
		tasks, err := os.ReadDir(filepath.Join("/proc", e.Name(), "task"))
		if err != nil {
			continue
		}
		for _, task := range tasks {
			if task.Name() != e.Name() {
				_, _ = os.ReadFile(filepath.Join("/proc", e.Name(), "task", task.Name(), "stat"))
			}
		}
	}
	return nil
}

// simulatedName begins the names of the simulated runners.
const simulatedName = "sim"

// measureFanOut asks many simulated runners at once.
func (b *command) measureFanOut(ctx context.Context) ([]row, error) {
	n := b.simulate
	if b.rig.runnerCmd == nil {
		runners, err := b.client.Runners(ctx)
		if err != nil {
			return nil, err
		}
		n = 0
		for _, r := range runners {
			if r.Online {
				n++
			}
		}
	} else if err := b.startFleet(ctx, n); err != nil {
		return nil, err
	}
	bare, err := b.timeFanOut(ctx, n, &pb.Glance{})
	if err != nil {
		return nil, err
	}
	sys, err := b.timeFanOut(ctx, n, &pb.Glance{Sys: &pb.SysQuery{Enable: true, Processes: proto.Bool(false)}})
	if err != nil {
		return nil, err
	}
	err = endProcess(b.rig.fleet)
	b.rig.fleet = nil
	return []row{
		{Name: fmt.Sprintf("%d runners tell of their systems, p50", n), Unit: "ms", Value: quantile(sys, 0.5), Budget: 120, Most: true},
		{Name: fmt.Sprintf("%d runners tell of their systems, p99", n), Unit: "ms", Value: quantile(sys, 0.99), Most: true},
		{Name: fmt.Sprintf("%d runners answer and tell nothing, p50", n), Unit: "ms", Value: quantile(bare, 0.5), Most: true},
	}, err
}

// timeFanOut asks all runners, again and again.
func (b *command) timeFanOut(ctx context.Context, n int, query *pb.Glance) (all []time.Duration, err error) {
	for range b.times(30) {
		began := time.Now()
		result, err := b.client.GlanceAll(ctx, client.Target{}, query, client.FanOptions{})
		if err != nil {
			return nil, err
		}
		all = append(all, time.Since(began))
		if !result.Complete() {
			return nil, notAll(n, &result.FanLists)
		}
	}
	return all, nil
}

// notAll says who of n is missing, and why.
func notAll(n int, lists *client.FanLists) error {
	var why []string
	for _, name := range lists.Missing[:min(3, len(lists.Missing))] {
		why = append(why, fmt.Sprintf("%s (%v)", name, lists.Reasons[name]))
	}
	return fmt.Errorf("%d of %d did not answer: %s", len(lists.Missing), n, strings.Join(why, ", "))
}

func (b *command) startFleet(ctx context.Context, n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.rig.fleet = b.rig.serve(ctx, self, "--name", simulatedName, "--simulate", strconv.Itoa(n), "--data", filepath.Join(b.rig.dir, "fleet"))
	if err := b.rig.fleet.Start(); err != nil {
		return fmt.Errorf("cannot start the simulated runners: %w", err)
	}
	// The runner that is measured is there as well, and is none of them.
	return b.rig.waitForRunners(ctx, n, func(c *pb.Card) bool { return strings.HasPrefix(c.GetName(), simulatedName+"-") })
}

// measureVersion is this program's own start, beside a small Go program.
func (b *command) measureVersion(ctx context.Context) ([]row, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	small := "true"
	if shim := filepath.Join(filepath.Dir(self), "runnel-shim"); exec.CommandContext(ctx, shim, "--version").Run() == nil {
		small = shim
	}
	var ours, floor []time.Duration
	for range b.times(100) {
		began := time.Now()
		_ = exec.CommandContext(ctx, small, "--version").Run()
		floor = append(floor, time.Since(began))
		began = time.Now()
		if err := exec.CommandContext(ctx, self, "version").Run(); err != nil {
			return nil, err
		}
		ours = append(ours, time.Since(began))
	}
	r := row{Name: "runnel version, start to end, p50", Unit: "ms", Value: quantile(ours, 0.5)}
	return []row{r.beside(quantile(floor, 0.5), "exec of "+filepath.Base(small)).within(10)}, nil
}

// freeAddress is a loopback address that nobody listens on, with a port below those
// that the system gives out by itself: no connection takes it before the runner.
func freeAddress() (string, error) {
	const low, high, tries = 15_000, 32_000, 100
	var l net.Listener
	err := errors.New("none")
	for i := 0; err != nil && i < tries; i++ {
		l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", low+rand.IntN(high-low)))
	}
	if err != nil {
		return "", fmt.Errorf("cannot find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
