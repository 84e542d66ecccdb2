package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel/pb"
)

const (
	// historyRuns is how many finished runs the fleet remembers.
	historyRuns = 10000
	// lastingRuns end lastingTime after their start, all at once: queries that rely on
	// the order of ids meet them first.
	lastingRuns = 200
	lastingTime = 3 * time.Second
	// rareEvery is how many runs there are for one that has the rare tag.
	rareEvery = 100
	// idleTime is how long the processor time of a runner with nothing to do is
	// watched.
	idleTime = settleTime
)

// measureHistory is what finding runs costs when many have ended, and what
// having them costs a runner that does nothing.
func (b *command) measureHistory(ctx context.Context) ([]row, error) {
	n := b.times(historyRuns)
	var count atomic.Int64
	_, err := rate(n, func() error {
		task := &pb.Task{Argv: []string{"true"}, Tags: map[string]string{"kind": "history"}}
		if count.Add(1)%rareEvery == 0 {
			task.Tags["rare"] = "yes"
		}
		return b.runOnce(ctx, task, nil)
	})
	if err != nil {
		return nil, err
	}
	if err := b.lastingRuns(ctx, b.times(lastingRuns)); err != nil {
		return nil, err
	}
	last, err := b.client.Query(ctx, &pb.Query{All: true, Limit: 1})
	if err != nil || len(last.GetRuns()) == 0 {
		return nil, fmt.Errorf("cannot find the runs: %w", err)
	}
	var rows []row
	for _, q := range []struct {
		name  string
		query *pb.Query
	}{
		{"a run", &pb.Query{Runs: []string{last.GetRuns()[0].GetId()}}},
		{"newest 20", &pb.Query{All: true, Limit: 20}},
		{"20 of a common tag", &pb.Query{All: true, Limit: 20, Tags: map[string]string{"kind": "history"}}},
		{"20 of a rare tag", &pb.Query{All: true, Limit: 20, Tags: map[string]string{"rare": "yes"}}},
		{"20 of no such tag", &pb.Query{All: true, Limit: 20, Tags: map[string]string{"rare": "no"}}},
	} {
		var took []time.Duration
		for range b.times(50) {
			began := time.Now()
			if _, err := b.client.Query(ctx, q.query); err != nil {
				return nil, err
			}
			took = append(took, time.Since(began))
		}
		rows = append(rows, row{Name: fmt.Sprintf("%s of %d ended runs, p50", q.name, n+b.times(lastingRuns)), Unit: "ms", Value: quantile(took, 0.5), Budget: 20, Most: true})
	}
	if b.rig.runnerCmd == nil {
		return rows, nil // the runner is elsewhere
	}
	watched := idleTime / time.Duration(historyRuns/n)
	before := b.rig.processorTime()
	select {
	case <-time.After(watched):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	used := b.rig.processorTime() - before
	return append(rows,
		row{Name: fmt.Sprintf("memory, idle after %d runs", n), Unit: "B", Value: b.rig.status("VmRSS"), Budget: 64 << 20, Most: true},
		row{Name: "a core's share, idle after them", Unit: "%", Value: 100 * used.Seconds() / watched.Seconds(), Budget: 0.5, Most: true},
	), nil
}

// lastingRuns starts n runs that last, and waits for their ends.
func (b *command) lastingRuns(ctx context.Context, n int) error {
	task := &pb.Task{Argv: []string{"sleep", fmt.Sprint(lastingTime.Seconds())}, Tags: map[string]string{"kind": "history"}}
	var ids []string
	for range n {
		run, err := b.client.Start(ctx, b.target, taskOf(task))
		if err != nil {
			return err
		}
		ids = append(ids, run.GetId())
	}
	for _, id := range ids {
		if _, err := b.client.Wait(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// processorTime is what the runner has used since it was started.
func (r *rig) processorTime() time.Duration {
	// Of all its threads: the process's own file has the first one's alone.
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", r.runnerCmd.Process.Pid))
	if err != nil {
		return 0
	}
	var total time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", r.runnerCmd.Process.Pid, task.Name()))
		if err != nil {
			continue // it has ended
		}
		if nanos, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64); err == nil {
			total += time.Duration(nanos)
		}
	}
	return total
}
