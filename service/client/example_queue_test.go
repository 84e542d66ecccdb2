package client_test

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/client"
)

// Work for the durable queue is stored at once, and done when a runner is free, also
// if none is there yet.
func ExampleClient_Enqueue() {
	c, stop := fleetOf("web1")
	defer stop()
	ctx := context.Background()

	request := task("sh", "-c", "echo saved")
	request.Metadata = &pb.Metadata{Id: "backup-1"}
	id, err := c.Enqueue(ctx, client.Work{Priority: "high", Task: request})
	if err != nil {
		fmt.Println(err)
		return
	}
	run, err := c.Wait(ctx, id)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run.GetId(), run.GetState(), run.GetQueued().GetPriority())
	// Output: backup-1 COMPLETE high
}
