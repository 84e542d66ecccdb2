package pipeline_test

import (
	"context"
	"fmt"
	"log"

	"github.com/runnel-io/runnel/embedded"
	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service"
	"github.com/runnel-io/runnel/service/client"
	"github.com/runnel-io/runnel/service/pipeline"
)

// must stops the example at an error.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// A pipeline with no file and no server: NATS, a runner and the engine are in
// this process.
func Example() {
	ctx := context.Background()
	nats := must(embedded.Start(embedded.Config{Memory: true, InProcessOnly: true}))
	defer nats.Close()
	nc := must(nats.Connect())
	defer nc.Close()
	defer must(service.Start(ctx, nc, service.Config{Name: "here", OnDemand: true})).Close()
	defer must(pipeline.Start(ctx, nc, pipeline.Config{})).Close()
	c := must(client.New(nc, client.Options{}))

	must(c.Apply(ctx, `
pipelines:
  release:
    tasks:
      test: {script: ['test {{ quote .tag }} = v1']}
      publish: {script: [echo published], depends_on: test}
`, client.ApplyOptions{Source: "example"}))
	job := must(c.Schedule(ctx, "release", client.ScheduleOptions{Variables: map[string]any{"tag": "v1"}, User: "me"}))
	err := c.WatchJob(ctx, job.GetId(), func(j *pb.Job) error { job = j; return nil })
	fmt.Println(job.GetPipeline(), job.GetCompleted(), job.GetErrored(), err)
	for _, task := range job.GetTasks() {
		fmt.Println(task.GetName(), task.GetStatus(), task.GetExitCode())
	}
	// Output:
	// release true false <nil>
	// test done 0
	// publish done 0
}
