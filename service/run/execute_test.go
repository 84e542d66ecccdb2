package run

import (
	"testing"

	"github.com/runnel-io/runnel/pb"
)

// What has been ended by the time it may start, doesn't: whoever asked may have
// been told that it wouldn't.
func TestEndedBeforeStart(t *testing.T) {
	a := &active{r: &Runner{start: make(chan struct{}, 1)}, run: &pb.Run{}, ended: make(chan struct{})}
	a.end(causeUnconfirmed)
	for range 100 {
		e := a.process(activity{prepare: func() start { t.Fatal("it was started"); return start{} }})
		if e.state != pb.State_FAILED || e.reason != pb.ReasonRejected {
			t.Fatalf("it ended with %+v", e)
		}
	}
	if len(a.r.start) > 0 {
		t.Error("its place at the gate was not given back")
	}
}
