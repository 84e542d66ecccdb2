package pipeline_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
	"github.com/runnel-io/runnel/tests/rig"
)

// benchWorld is a fleet of one runner and one engine.
func benchWorld(b *testing.B, definitions string) (*client.Client, *embedded.Server) {
	b.Helper()
	server := rig.Memory(b)
	s, err := service.Start(b.Context(), rig.Connect(b, server), service.Config{Name: "r1", DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	e, err := pipeline.Start(b.Context(), rig.Connect(b, server), pipeline.Config{Name: "e1"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.Close)
	c, err := client.New(rig.Connect(b, server), client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Apply(b.Context(), definitions, client.ApplyOptions{Source: "bench"}); err != nil {
		b.Fatal(err)
	}
	return c, server
}

// trivialPipelines are jobs of true: one, 20 in a chain, and five levels of four.
func trivialPipelines() string {
	var chain, levels strings.Builder
	for i := range 20 {
		fmt.Fprintf(&chain, "      t%d: {script: ['true'], depends_on: [%s]}\n", i, map[bool]string{true: fmt.Sprintf("t%d", i-1)}[i > 0])
		var deps []string
		for j := range 4 {
			if i >= 4 {
				deps = append(deps, fmt.Sprintf("t%d", i/4*4-4+j))
			}
		}
		fmt.Fprintf(&levels, "      t%d: {script: ['true'], depends_on: [%s]}\n", i, strings.Join(deps, ", "))
	}
	return "pipelines:\n  one: {tasks: {a: {script: ['true']}}}\n  chain:\n    tasks:\n" + chain.String() + "  levels:\n    tasks:\n" + levels.String()
}

// One operation is a job from its acceptance to its last record; "task" is the
// bare task beside it.
func BenchmarkJob(b *testing.B) {
	c, _ := benchWorld(b, trivialPipelines())
	b.Run("task", func(b *testing.B) {
		for b.Loop() {
			req := &pb.TaskRequest{Kind: pb.Kind, Spec: &pb.TaskSpec{Task: &pb.Task{File: &pb.File{Content: []byte("#!/bin/bash\ntrue\n")}}}}
			if _, err := c.Run(b.Context(), client.Target{}, req, client.RunEvents{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, name := range []string{"one", "chain", "levels"} {
		b.Run(name, func(b *testing.B) {
			floor := map[string][]int{"one": {1}, "chain": slices.Repeat([]int{1}, 20), "levels": {4, 4, 4, 4, 4}}[name]
			var bare time.Duration
			defer func() {
				b.ReportMetric(float64(bare.Microseconds())/1000/float64(b.N), "exec-ms/op")
				b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "job-ms/op")
			}()
			for b.Loop() {
				b.StopTimer()
				bare += bareExec(b, floor)
				b.StartTimer()
				job, err := c.Schedule(b.Context(), name, client.ScheduleOptions{})
				if err == nil {
					err = c.WatchJob(b.Context(), job.GetId(), func(*pb.Job) error { return nil })
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bareExec is the floor: the same processes by os/exec, level by level.
func bareExec(b testing.TB, levels []int) time.Duration {
	began := time.Now()
	for _, n := range levels {
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if err := exec.Command("bash", "-c", "true").Run(); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	return time.Since(began)
}

// One operation is a job that is accepted and waits, 100 callers at once; and a
// list of a thousand of them.
func BenchmarkQueue(b *testing.B) {
	c, _ := benchWorld(b, "pipelines: {q: {tasks: {a: {script: [sleep 1000]}}}}")
	count := 0
	b.Run("schedule", func(b *testing.B) {
		var wg sync.WaitGroup
		places := make(chan struct{}, 100)
		for b.Loop() {
			count++
			places <- struct{}{}
			wg.Go(func() {
				if _, err := c.Schedule(b.Context(), "q", client.ScheduleOptions{}); err != nil {
					b.Error(err)
				}
				<-places
			})
		}
		wg.Wait()
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			seen := 0
			for _, err := range c.Jobs(b.Context(), client.JobsOptions{Page: 1000}) {
				if err != nil {
					b.Fatal(err)
				}
				if seen++; seen == 1000 {
					break
				}
			}
			if seen < min(count, 1000) {
				b.Fatalf("%d listed of %d", seen, count)
			}
		}
	})
}
