package pb_test

import (
	"errors"
	"fmt"

	"github.com/runnel-io/runnel/pb"
)

// A request that any NATS client could send, read as a runner reads it.
func ExampleDecodeRequest() {
	var request pb.TaskRequest
	err := pb.DecodeRequest([]byte(`{"kind":"runner","spec":{"task":{"argv":["uptime"],"timeout":"90s"}}}`), false, &request)
	fmt.Println(request.GetSpec().GetTask().GetArgv(), err)

	err = pb.DecodeRequest([]byte(`{"kind":"runner","spec":{"task":{"argv":["uptime"],"timeout":"90"}}}`), false, &request)
	var invalid *pb.InvalidError
	fmt.Println(errors.As(err, &invalid))
	fmt.Println(err)
	// Output:
	// [uptime] <nil>
	// true
	// spec.task.timeout: "90" is not a duration with a unit, such as "90s" or "1h30m"
}
