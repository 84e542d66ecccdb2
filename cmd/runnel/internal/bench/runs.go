package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/lines"
	"github.com/runnel-io/runnel/service/store"
)

func taskOf(t *pb.Task) *pb.TaskRequest {
	return &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: t}}
}

// runOnce takes a task from the request to its verified end.
func (b *command) runOnce(ctx context.Context, t *pb.Task, each func(lines.Record)) error {
	outcome, err := b.client.Run(ctx, b.target, taskOf(t), client.RunEvents{Record: func(_ *pb.Run, r lines.Record) error {
		if each != nil {
			each(r)
		}
		return nil
	}})
	result := outcome.Log
	switch {
	case err != nil:
		return err
	case !result.Verified:
		return fmt.Errorf("the log is not what its end says: %w", result.Problem)
	case result.End.ExitCode != 0 || result.End.State != pb.State_COMPLETE.String():
		return fmt.Errorf("the run ended %s, exit %d: %s", result.End.State, result.End.ExitCode, result.End.Error)
	}
	return nil
}

// measureStart is start to finish of a task that does nothing, one after the
// other, beside os/exec and beside a bare exec over the same server.
func (b *command) measureStart(ctx context.Context) ([]row, error) {
	ways := []way{
		timed(func() error { return exec.CommandContext(ctx, "true").Run() }),
		timed(func() error { return b.runOnce(ctx, &pb.Task{Argv: []string{"true"}}, nil) }),
	}
	if b.rig.bare != nil {
		ways = append(ways, timed(func() error { return b.bareExec(ctx) }))
	}
	times, err := inBlocks(ctx, b.times(500), ways...)
	if err != nil {
		return nil, err
	}
	floor := func(r row, q float64) row { return r.beside(quantile(times[0], q), "os/exec") }
	rows := []row{
		floor(row{Name: "start to finish of true, p50", Unit: "ms", Value: quantile(times[1], 0.5), Budget: 1.8, Most: true}, 0.5),
		floor(row{Name: "start to finish of true, p99", Unit: "ms", Value: quantile(times[1], 0.99), Most: true}, 0.99),
	}
	if b.rig.bare != nil {
		rows = append(rows, floor(row{Name: "the same by a bare exec over NATS, which stores nothing, p50", Unit: "ms", Value: quantile(times[2], 0.5), Most: true}, 0.5))
	}
	return rows, nil
}

const inFlight = 16

// measureRate is runs a second with many in flight.
func (b *command) measureRate(ctx context.Context) ([]row, error) {
	ways := []func() error{
		func() error { return exec.CommandContext(ctx, "true").Run() },
		func() error { return b.runOnce(ctx, &pb.Task{Argv: []string{"true"}}, nil) },
	}
	if b.rig.bare != nil {
		ways = append(ways, func() error { return b.bareExec(ctx) })
	}
	all, err := rates(ctx, b.times(4000), ways...)
	if err != nil {
		return nil, err
	}
	const floor = "os/exec, as many in flight"
	rows := []row{
		row{Name: fmt.Sprintf("runs a second, %d in flight", inFlight), Unit: "/s", Value: all[1], Budget: 0.65}.beside(all[0], floor),
	}
	if b.rig.bare != nil {
		rows = append(rows, row{Name: "the same by a bare exec over NATS", Unit: "/s", Value: all[2]}.beside(all[0], floor))
	}
	return rows, nil
}

// rate does something n times, inFlight at a time, and returns how often a second.
func rate(n int, do func() error) (float64, error) {
	var (
		wg    sync.WaitGroup
		left  atomic.Int64
		mu    sync.Mutex
		first error
	)
	left.Store(int64(n))
	began := time.Now()
	for range inFlight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds(), first
}

// measureFirst is the time to the first line of a fresh run of a shell.
func (b *command) measureFirst(ctx context.Context) ([]row, error) {
	const text = "echo hello"
	times, err := inBlocks(ctx, b.times(200),
		func() (time.Duration, error) {
			began := time.Now()
			return firstByte(exec.CommandContext(ctx, "bash", "-c", text), began)
		},
		func() (took time.Duration, err error) {
			began := time.Now()
			err = b.runOnce(ctx, &pb.Task{Commands: []string{text}}, func(lines.Record) {
				if took == 0 {
					took = time.Since(began)
				}
			})
			return took, err
		})
	if err != nil {
		return nil, err
	}
	return []row{
		row{Name: "first line of a fresh run, p50", Unit: "ms", Value: quantile(times[1], 0.5), Budget: 1.6, Most: true}.beside(quantile(times[0], 0.5), "exec and pipe"),
	}, nil
}

// firstByte runs a command and returns when its first output came.
func firstByte(cmd *exec.Cmd, began time.Time) (took time.Duration, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var rest bytes.Buffer
	if _, err := out.Read(make([]byte, 4096)); err != nil {
		return 0, err
	}
	took = time.Since(began)
	if _, err := rest.ReadFrom(out); err != nil {
		return 0, err
	}
	return took, cmd.Wait()
}

// measureRecords is what a run's record costs to find, and an abort.
func (b *command) measureRecords(ctx context.Context) ([]row, error) {
	var query, abort []time.Duration
	for range b.times(200) {
		run, err := b.client.Start(ctx, b.target, taskOf(&pb.Task{Argv: []string{"sleep", "60"}}))
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if _, err := b.client.Query(ctx, &pb.Query{Runs: []string{run.GetId()}}); err != nil {
			return nil, err
		}
		query = append(query, time.Since(began))
		began = time.Now()
		ended, err := b.client.Abort(ctx, run.GetId(), 10*time.Second)
		if err != nil {
			return nil, err
		}
		if !store.Final(ended.GetState()) {
			return nil, fmt.Errorf("run %s did not end in time", run.GetId())
		}
		abort = append(abort, time.Since(began))
	}
	return []row{
		{Name: "query of a run by id, p50", Unit: "ms", Value: quantile(query, 0.5), Budget: 50, Most: true},
		{Name: "abort of a plain run, to its final record, p50", Unit: "ms", Value: quantile(abort, 0.5), Budget: 50, Most: true},
	}, nil
}

// measureSleep is the runner's memory and threads, idle and with 500 runs that
// sleep; then the same of one that serves the fleet over HTTP as well, which tells
// of its goroutines.
func (b *command) measureSleep(ctx context.Context) ([]row, error) {
	if b.rig.runnerCmd == nil {
		return nil, nil // the runner is elsewhere: its memory can't be seen
	}
	n := b.times(500)
	if err := b.settle(ctx); err != nil {
		return nil, err
	}
	idle, idleFiles := b.rig.status("VmRSS"), b.rig.descriptors()
	full, threads := 0.0, 0.0
	err := b.whileSleeping(ctx, b.target, n, func() { full, threads = b.rig.status("VmRSS"), b.rig.status("Threads") })
	if err != nil {
		return nil, err
	}
	leftFiles := b.rig.descriptors() - idleFiles
	web, err := b.rig.startWeb(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.settle(ctx); err != nil {
		return nil, err
	}
	webIdle, idleGo, fullGo := web.memory(), web.goroutines(), 0.0
	err = b.whileSleeping(ctx, client.Target{On: webName}, n, func() { fullGo = web.goroutines() })
	if err != nil {
		return nil, err
	}
	leftGo := web.goroutines() - idleGo
	return []row{
		{Name: "memory, idle", Unit: "B", Value: idle, Budget: 25e6, Most: true},
		{Name: fmt.Sprintf("memory, %d sleep runs", n), Unit: "B", Value: full, Budget: 38e6, Most: true},
		{Name: "memory, idle, with --http", Unit: "B", Value: webIdle, Most: true},
		{Name: fmt.Sprintf("threads, %d sleep runs", n), Value: threads, Budget: 14, Most: true},
		{Name: "goroutines a sleep run", Value: (fullGo - idleGo) / float64(n), Budget: 3, Most: true},
		{Name: "goroutines left after", Value: max(0, leftGo), Most: true},
		{Name: "descriptors left after", Value: max(0, leftFiles), Most: true},
	}, b.rig.endWeb()
}

// settleTime is what a runner gets to give back what its start, or many runs, have
// left.
const settleTime = 15 * time.Second

func (b *command) settle(ctx context.Context) error {
	wait := settleTime
	if b.quick {
		wait /= 10
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// whileSleeping looks while n runs sleep, and ends them.
func (b *command) whileSleeping(ctx context.Context, on client.Target, n int, look func()) error {
	var ids []string
	for range n {
		run, err := b.client.Start(ctx, on, taskOf(&pb.Task{Argv: []string{"sleep", "600"}}))
		if err != nil {
			return err
		}
		ids = append(ids, run.GetId())
	}
	look()
	if err := b.client.AbortAll(ctx, ids); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := b.client.Wait(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
