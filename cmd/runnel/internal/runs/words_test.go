package runs

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/runnel-io/runnel/pb"
)

// What a record says of a run, for each part of its life.
func TestRecordsInWords(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-ago)) }
	for name, c := range map[string]struct {
		run *pb.Run
		how string
		all []string // lines of show
		not string   // a field that says nothing
	}{
		"waits":            {&pb.Run{Id: "r", State: pb.State_PENDING, Created: at(time.Minute)}, "", []string{"state PENDING", "created"}, "started"},
		"runs":             {&pb.Run{Id: "r", State: pb.State_RUNNING, Started: at(3 * time.Second)}, "", []string{"state RUNNING", "took 3.0s"}, "ended"},
		"is being aborted": {&pb.Run{Id: "r", State: pb.State_RUNNING, Aborting: true}, "aborting", []string{"state RUNNING"}, "took"},
		"ended": {&pb.Run{Id: "r", State: pb.State_COMPLETE, ExitCode: 3, Lines: 2, Bytes: 8, LogComplete: true, Started: at(5 * time.Second), Ended: at(time.Second), Tags: map[string]string{"b": "2", "a": "1"}},
			"exit 3", []string{"state COMPLETE", "output 2 lines, 8 B", "took 4.0s", "tags a=1,b=2", "memory -"}, "error"},
		"ran out of time": {&pb.Run{Id: "r", State: pb.State_TIMEDOUT, Started: at(5 * time.Second), Ended: at(0)}, "after 5.0s", []string{"state TIMEDOUT"}, "group"},
		"was aborted":     {&pb.Run{Id: "r", State: pb.State_ABORTED, LogComplete: true}, "", []string{"state ABORTED", "output 0 lines, 0 B"}, "name"},
		"lost a part": {&pb.Run{Id: "r", State: pb.State_COMPLETE, Dropped: 3, DroppedBytes: 30, PeakMemory: 1 << 20},
			"exit 0", []string{"3 lines dropped (30 B)", "not complete", "memory 1.0 MiB"}, "sha256"},
	} {
		if got := howItEnded(c.run); got != c.how {
			t.Errorf("%s: got %q, want %q", name, got, c.how)
		}
		var all []string
		for _, f := range runFields(c.run, now) {
			if f.value != "" {
				all = append(all, f.name+" "+f.value)
			}
			if f.name == c.not && f.value != "" {
				t.Errorf("%s: %s is %q", name, f.name, f.value)
			}
		}
		text := strings.Join(all, "\n")
		for _, want := range c.all {
			if !strings.Contains(text, want) {
				t.Errorf("%s: got\n%s\nwant %q", name, text, want)
			}
		}
	}
}
